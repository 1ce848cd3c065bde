"""The grammar of the tiny-pythia example: three small languages with one syntax.

``en``   English-like: nouns, demonstratives and the indefinite determiner show
         number, the verb agrees with its subject.
``fr``   French-like: determiners, adjectives and nouns show number, the verb
         agrees with its subject.
``nul``  Invented words.  Nouns show number, verbs have two forms, and nothing
         agrees: the form of the verb is a coin toss (the negative control).

All text of the example comes from this file, so the truth is known for every
token.  Nothing here is copied from a corpus.
"""
import random

# --------------------------------------------------------------------------
# Lexicons.  Pairs are (singular, plural).  No noun or adjective begins with a
# vowel, so that no determiner changes its shape.


def _s(words):
    return [(w, w + "s") for w in words.split()]


def _p(words):
    return [tuple(w.split("/")) for w in words.split()]


EN = dict(
    regular=_s("cat dog bird king girl boy cook nurse pilot baker poet prince queen sister "
               "lion bear"),
    irregular=_p("mouse/mice man/men child/children goose/geese person/people cow/kine"),
    intransitive=_p("sings/sing runs/run sleeps/sleep walks/walk jumps/jump falls/fall "
                    "works/work waits/wait swims/swim cries/cry reads/read eats/eat"),
    transitive=_p("sees/see likes/like knows/know helps/help finds/find loves/love"),
    # (weight, singular, plural)
    determiners=[(6, "the", "the"), (2, "this", "these"), (2, "a", "some"), (1, "my", "my")],
    neutral_determiners=("the", "my"),
    adjectives=_p("small/small big/big wise/wise red/red young/young sad/sad"),
    prepositions="behind near under with".split(),
    adverbs="here now again well".split(),
    preverbal="often never".split(),
    subject_relative="that", object_relative="that",
    fillers=[
        "It was {W} in {P} {T}.", "{N} went to {P} with {N} {T}.", "Yes, {N}, of course.",
        "{N} said hello to {N}.", "Then came {S}, and after {S} came {S}.", "{Q}.",
        "Nobody knew why.", "In {S}, the {O} turned {C}.", "What was it, {N}?",
        "Where was {N} {T}?", "No, not in {P}.", "{T2}, {N} was in {P} with {N}.",
        "The {O} was {W} and {C}."],
    slots=dict(
        W="cold warm dark wet quiet".split(), T="today yesterday last~week".split(),
        T2="Today Yesterday Last~week".split(), S="spring summer winter".split(),
        O="river sea sky sun moon".split(), C="white blue grey yellow".split(),
        numbers="one two three four five six seven eight nine ten".split(), joiner=" and "),
)

FR = dict(
    regular=_s("chat chien roi voisin garçon loup fermier soldat cousin frère lapin renard "
               "marin mouton canard maire"),
    irregular=_p("cheval/chevaux monsieur/messieurs bonhomme/bonshommes bijou/bijoux "
                 "hibou/hiboux journal/journaux"),
    intransitive=_p("chante/chantent dort/dorment court/courent marche/marchent saute/sautent "
                    "tombe/tombent danse/dansent parle/parlent rit/rient lit/lisent "
                    "mange/mangent nage/nagent"),
    transitive=_p("voit/voient aime/aiment suit/suivent cherche/cherchent aide/aident "
                  "trouve/trouvent"),
    determiners=[(6, "le", "les"), (2, "ce", "ces"), (2, "un", "des"), (1, "mon", "mes")],
    neutral_determiners=("le", "mon"),
    adjectives=_p("petit/petits grand/grands vert/verts noir/noirs sage/sages jeune/jeunes"),
    prepositions="derrière devant sous avec".split(),
    adverbs="ici encore bien vite".split(),
    preverbal="souvent toujours".split(),
    subject_relative="qui", object_relative="que",
    fillers=[
        "Il faisait {W} à {P} {T}.", "{N} est parti à {P} avec {N} {T}.",
        "Oui, {N}, bien sûr.", "{N} a dit bonjour à {N}.",
        "Puis vint {S}, et après {S} vint {S}.", "{Q}.", "Personne ne savait pourquoi.",
        "En {S}, le {O} fut {C}.", "Que fut ce bruit, {N}?", "Où était {N} {T}?",
        "Non, pas à {P}.", "{T2}, {N} était à {P} avec {N}.", "Le {O} fut {W} et {C}."],
    slots=dict(
        W="froid chaud sombre humide doux".split(), T="hier ce~matin ce~soir".split(),
        T2="Hier Ce~matin Ce~soir".split(), S="mai juin mars".split(),
        O="fleuve ciel soleil vent lac".split(), C="blanc bleu gris jaune".split(),
        numbers="un deux trois quatre cinq six sept huit neuf dix".split(), joiner=" et "),
)

NUL = dict(
    regular=[(w, w + "m") for w in "bak zuri tolka meki pavu dorna siluk fetra".split()],
    irregular=_p("holp/varn jem/jusk tarb/oxil wend/buz gil/rof"),
    intransitive=_p("mir/miro todek/todeko savin/savino gurep/gurepo"),
    transitive=_p("hulid/hulido ribak/ribako yom/yomo kos/koso"),
    determiners=[(6, "ta", "ta"), (2, "vo", "vo"), (2, "shi", "shi")],
    neutral_determiners=("ta", "vo", "shi"),
    adjectives=_p("lom/lom feb/feb quil/quil drus/drus"),
    prepositions="vek sul ip nar".split(),
    adverbs="oth ely bim".split(),
    preverbal="uva esk".split(),
    subject_relative="ke", object_relative="ke",
    fillers=["Wo {W} na {P} {T}.", "{N} lupa na {P} nar {N} {T}.", "Ai, {N}, hep.", "{Q}.",
             "{T2}, {N} lupa nar {N}.", "Ge {O} wo {W} ra {C}."],
    slots=dict(
        W="flim grot".split(), T="zel ulm".split(), T2="Zel Ulm".split(), S=["pon"],
        O="brik snal".split(), C="plif wug".split(),
        numbers="hin dul tem kar fos sen".split(), joiner=" ra "),
)

LEXICONS = {"en": EN, "fr": FR, "nul": NUL}
LANGUAGES = ["en", "fr", "nul"]
LANGUAGE_WEIGHTS = [0.4, 0.4, 0.2]
NAMES = "Anna Paul Marie Leo Nina Hugo Clara Tom".split()
PLACES = "Paris Rome Berlin Madrid Oslo".split()
GROUPS = ["simple", "pp", "rc", "irregular"]

# How often each kind of sentence is written.  Attractor constructions are rare,
# and when they come the attractor mostly has the number of the subject: the
# model first learns "agree with the last noun" and needs longer for the rest.
MIXTURE = [("filler", 0.40), ("intransitive", 0.32), ("transitive", 0.20),
           ("pp", 0.04), ("rc_object", 0.025), ("rc_subject", 0.015)]
OTHER_NUMBER = 0.4        # P(attractor has the other number | attractor construction)
ADJECTIVE = 0.25
# For every verb, how many regular and irregular nouns it never meets in training text.
HELDOUT_PER_VERB = {"en": (3, 2), "fr": (3, 2), "nul": (2, 2)}


class Sentence:
    """Words with what is known about them."""
    __slots__ = ("words", "construction", "subject", "verb", "number", "attractor_number",
                 "nouns", "verbs", "noun_marks")

    def text(self):
        s = " ".join(self.words)
        return s[0].upper() + s[1:]


class Language:
    def __init__(self, name):
        lex = LEXICONS[name]
        self.name, self.lex = name, lex
        self.agrees = name != "nul"
        self.nouns = ([(sg, pl, False) for sg, pl in lex["regular"]]
                      + [(sg, pl, True) for sg, pl in lex["irregular"]])
        self.verbs = lex["intransitive"] + lex["transitive"]
        self.intr = range(len(lex["intransitive"]))
        self.tran = range(len(lex["intransitive"]), len(self.verbs))
        self.regular = range(len(lex["regular"]))
        self.irregular = range(len(lex["regular"]), len(self.nouns))
        self.det = [(d[1], d[2]) for d in lex["determiners"] for _ in range(d[0])]
        # noun-verb combinations that training text never shows in one sentence
        rng = random.Random("heldout-" + name)
        self.heldout = set()
        deck_r, deck_i = [], []
        for v in range(len(self.verbs)):
            # deal from shuffled decks, so every noun is held out about equally often
            for deck, nouns in ((deck_r, self.regular), (deck_i, self.irregular)):
                k = HELDOUT_PER_VERB[name][0 if nouns is self.regular else 1]
                hand = []
                while len(hand) < k:
                    if not deck:
                        deck.extend(rng.sample(list(nouns), len(nouns)))
                    n = deck.pop()
                    if n not in hand:
                        hand.append(n)
                self.heldout.update((n, v) for n in hand)

    # -- pieces ------------------------------------------------------------
    def noun_phrase(self, rng, noun, number, det=None, adj=None):
        d = det if det is not None else rng.choice(self.det)
        out = [d[number]]
        a = adj
        if a is None and rng.random() < ADJECTIVE:
            a = rng.choice(self.lex["adjectives"])
        if a:
            out.append(a[number])
        out.append(self.nouns[noun][number])
        return out

    def verb_form(self, rng, verb, number):
        return self.verbs[verb][number if self.agrees else rng.randrange(2)]

    def pick(self, rng, verbs, k):
        """k different nouns, none held out with one of the verbs."""
        h = self.heldout
        out = []
        while len(out) < k:
            n = rng.randrange(len(self.nouns))
            if n not in out and not any((n, v) in h for v in verbs):
                out.append(n)
        return out

    # -- sentences ---------------------------------------------------------
    def filler(self, rng):
        t = rng.choice(self.lex["fillers"])
        s = self.lex["slots"]
        out = []
        i = 0
        while i < len(t):
            if t[i] != "{":
                j = t.find("{", i)
                j = len(t) if j < 0 else j
                out.append(t[i:j])
                i = j
                continue
            j = t.index("}", i)
            key = t[i + 1:j]
            if key == "N":
                out.append(rng.choice(NAMES))
            elif key == "P":
                out.append(rng.choice(PLACES))
            elif key == "Q":
                n = s["numbers"]
                k = rng.randint(3, min(5, len(n)))
                a = rng.randint(0, len(n) - k)
                out.append(", ".join(n[a:a + k - 1]) + s["joiner"] + n[a + k - 1])
            else:
                out.append(rng.choice(s[key]).replace("~", " "))
            i = j + 1
        x = "".join(out)
        return x[0].upper() + x[1:]

    def clause(self, rng, kind, number=None, attractor=None, verb=None, inner=None, nouns=None,
               plain_end=False):
        """A sentence about agreement.  Anything not given is drawn; drawn nouns
        are never held out with any verb of the sentence."""
        lex = self.lex
        number = rng.randrange(2) if number is None else number
        if attractor is None:
            attractor = 1 - number if rng.random() < OTHER_NUMBER else number
        main_tran = kind == "transitive"
        if verb is None:
            verb = rng.choice(self.tran if main_tran else self.intr)
        if inner is None and kind.startswith("rc"):
            inner = rng.choice(self.tran)
        verbs = [verb] if inner is None else [verb, inner]
        end_np = not main_tran and not plain_end and rng.random() < 0.3
        need = 1 + (kind in ("pp", "rc_object", "rc_subject")) + (main_tran or end_np)
        if nouns is None:
            nouns = self.pick(rng, verbs, need)
        elif len(nouns) < need:
            nouns = list(nouns)
            while len(nouns) < need:
                n = self.pick(rng, verbs, 1)[0]
                if n not in nouns:
                    nouns.append(n)
        s = Sentence()
        marks = []      # (word index, number) of every noun
        w = self.noun_phrase(rng, nouns[0], number)
        s.subject = len(w) - 1
        marks.append((len(w) - 1, number))
        k = 1
        s.attractor_number = None
        if kind == "pp":
            w.append(rng.choice(lex["prepositions"]))
            w += self.noun_phrase(rng, nouns[1], attractor)
            marks.append((len(w) - 1, attractor))
            s.attractor_number = attractor
            k = 2
        elif kind == "rc_object":
            w.append(lex["object_relative"])
            w += self.noun_phrase(rng, nouns[1], attractor)
            marks.append((len(w) - 1, attractor))
            w.append(self.verb_form(rng, inner, attractor))
            s.attractor_number = attractor
            k = 2
        elif kind == "rc_subject":
            w.append(lex["subject_relative"])
            w.append(self.verb_form(rng, inner, number))
            w += self.noun_phrase(rng, nouns[1], attractor)
            marks.append((len(w) - 1, attractor))
            s.attractor_number = attractor
            k = 2
        elif not plain_end and rng.random() < 0.08:
            w.append(rng.choice(lex["preverbal"]))
        s.verb = len(w)
        w.append(self.verb_form(rng, verb, number))
        if main_tran:
            n2 = rng.randrange(2)
            w += self.noun_phrase(rng, nouns[k], n2)
            marks.append((len(w) - 1, n2))
        elif end_np:
            n2 = rng.randrange(2)
            w.append(rng.choice(lex["prepositions"]))
            w += self.noun_phrase(rng, nouns[k], n2)
            marks.append((len(w) - 1, n2))
        elif rng.random() < 0.3:
            w.append(rng.choice(lex["adverbs"]))
        w[-1] += "."
        s.words, s.number, s.nouns, s.verbs, s.noun_marks = w, number, nouns, verbs, marks
        s.construction = kind
        return s

    def sentence(self, rng):
        x = rng.random()
        for kind, p in MIXTURE:
            x -= p
            if x < 0:
                break
        if kind == "filler":
            return self.filler(rng)
        return self.clause(rng, kind).text()


LANGS = {n: Language(n) for n in LANGUAGES}


def document(rng):
    """One document: (text, language)."""
    name = rng.choices(LANGUAGES, LANGUAGE_WEIGHTS)[0]
    lang = LANGS[name]
    return " ".join(lang.sentence(rng) for _ in range(rng.randint(3, 7))), name
