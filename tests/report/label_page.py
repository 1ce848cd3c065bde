# SPDX-License-Identifier: Apache-2.0
"""Labels features on the page of a report as a person with a keyboard does, and looks at what was kept and saved.

label_page.py BROWSER WORK label   labels the features of WORK/report/index.html, saves WORK/labels.csv
label_page.py BROWSER WORK import  WORK/report was made again with labels: they are shown, files are read
label_page.py BROWSER WORK shown   the same, where only the labels of `label` were imported: each stands on its card
"""
import csv
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from browser import Browser  # noqa: E402

program, work, phase = sys.argv[1:4]
page = "file://" + os.path.join(os.path.realpath(work), "report", "index.html")
failures = []

# What people may type; the first is labelled last, all of it by keys alone.
TEXTS = ["plural subject", '"quoted", with comma', "=HYPERLINK(1)", "+1 plus", "'=guarded", "-minus", "@at",
         "<script>document.title='P8'</script>", "pluriel é 日本", "a;b", "x" * 300, "tab and  spaces"]
SURE = ["low", "medium", "high"]


def expect(what, found, wanted):
    if found != wanted:
        failures.append("%s: found %r, expected %r" % (what, found, wanted))


def field(feature, name):
    return "document.querySelector('.label[data-feature=\"%d\"] [name=%s]').value" % (feature, name)


def sure(feature):
    return ("(document.querySelector('.label[data-feature=\"%d\"] input[type=radio]:checked') || {value: ''}).value" % feature)


def progress(browser):
    return browser.value("document.getElementById('progress').textContent")


def check_kept(browser, features):
    for i, feature in enumerate(features):
        expect("label kept", browser.value(field(feature, "description")), TEXTS[i % len(TEXTS)])
        expect("confidence kept", browser.value(sure(feature)), SURE[i % 3])
    expect("name kept", browser.value("document.getElementById('who').value"), "Anna É.")
    expect("progress", progress(browser), "%d of %d labelled" % (len(features), len(features)))


def saved(name):
    path = os.path.join(work, name)
    for _ in range(200):
        if os.path.exists(path):
            break
        time.sleep(0.05)
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def label_everything(browser):
    features = browser.value("Array.from(document.querySelectorAll('.label')).map(function (e) { return +e.dataset.feature; })")
    expect("help line", browser.value("document.querySelector('.keys').offsetHeight > 0"), True)
    expect("note about storage", browser.value("document.getElementById('lost').hidden"), True)
    browser.key("j")
    expect("first card", browser.value("document.querySelector('.card.current').id"), "f%d" % features[0])
    browser.key("j")
    browser.key("k")
    browser.key("l")
    for i in range(len(features)):
        browser.type(TEXTS[i % len(TEXTS)])
        browser.key("Tab")
        browser.key(str(i % 3 + 1))
        browser.key("Tab")
        browser.type("en fr")
        browser.key("Enter")
    browser.key("Escape")
    check = browser.value("document.activeElement === document.querySelector('.card.current')")
    expect("Escape goes to the card", check, True)
    expect("progress", progress(browser), "%d of %d labelled" % (len(features), len(features)))
    return features


def save(browser, features):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=os.path.realpath(work))
    browser.key("s", 2)
    expect("a name is asked for", browser.value("document.activeElement.id"), "who")
    expect("nothing saved without it", os.path.exists(os.path.join(work, "labels.csv")), False)
    browser.type("Anna É.")
    browser.key("Escape")
    browser.key("s")
    rows = saved("labels.csv")
    expect("rows saved", len(rows), len(features))
    for i, row in enumerate(rows):
        text = TEXTS[i % len(TEXTS)]
        expect("feature saved", row["feat_id"], str(features[i]))
        expect("no formula", row["description"][:1] in "=+-@", False)
        back = row["description"][1:] if row["description"].startswith("'") else row["description"]
        expect("label saved", back, text)
        expect("confidence saved", row["confidence"], SURE[i % 3])
        expect("languages saved", row["languages"], "en fr")
        expect("annotator saved", row["annotator"], "Anna É.")


def label_phase(profile):
    browser = Browser(program, profile)
    browser.open(page)
    features = label_everything(browser)
    save(browser, features)
    browser.open(page)
    check_kept(browser, features)
    expect("complaints", browser.complaints(), [])
    browser.close()
    browser = Browser(program, profile)  # another day
    browser.open(page)
    check_kept(browser, features)
    # The page of another run in the same browser starts empty.
    other = os.path.join(os.path.realpath(work), "other.html")
    with open(page[7:], encoding="utf-8") as source, open(other, "w", encoding="utf-8") as copy:
        text = source.read()
        start = text.index('data-run="') + 10
        copy.write(text[:start] + "0" * 32 + text[text.index('"', start):])
    browser.open("file://" + other)
    expect("another run", progress(browser), "0 of %d labelled" % len(features))
    expect("the name is the person's", browser.value("document.getElementById('who').value"), "Anna É.")
    browser.close()


def import_file(browser, name):
    browser.value("document.getElementById('note').textContent = ''")
    browser.choose_file("#file", os.path.join(os.path.realpath(work), name))
    browser.wait("document.getElementById('note').textContent !== ''")
    return browser.value("document.getElementById('note').textContent")


def write_file(name, content):
    with open(os.path.join(work, name), "w", encoding="utf-8", newline="") as out:
        out.write(content)


def import_phase(profile):
    browser = Browser(program, profile)  # somebody else's browser: nothing is kept
    browser.open(page)
    features = browser.value("Array.from(document.querySelectorAll('.label')).map(function (e) { return +e.dataset.feature; })")
    given = browser.value("Array.from(document.querySelectorAll('.given')).map(function (e) { return e.textContent; })")
    expect("labels of the run", len([g for g in given if "Anna É." in g]), len(features))
    expect("labels of the run", len([g for g in given if "ben" in g]), 2)
    expect("label as text", any("<script>document.title" in g for g in given), True)
    expect("starts empty", progress(browser), "0 of %d labelled" % len(features))
    note = import_file(browser, "labels.csv")  # of two people: whose page is this?
    expect("whose", "Taken over: 0." in note and "your name" in note, True)
    note = import_file(browser, "anna.csv")
    expect("taken over", "Taken over: %d." % len(features) in note, True)
    check_kept(browser, features)
    write_file("hostile.csv", "\ufefffeat_id,description,languages,confidence,annotator\r\n"
               "%d,<img src=x onerror=document.title='P9'>,,3,zoe\r\n99999,x,,,zoe\r\n\r\n" % features[0])
    note = import_file(browser, "hostile.csv")
    expect("others", "of others: 1. Without a card here: 1." in note, True)
    expect("others as text", browser.value("document.querySelector('.others').textContent"),
           "zoe: <img src=x onerror=document.title='P9'> · high")
    expect("images", browser.value("document.querySelectorAll('img').length"), 0)
    check_kept(browser, features)
    write_file("mine.csv", "feat_id,description,annotator\n%d,changed,Anna É.\n" % features[0])
    import_file(browser, "mine.csv")
    expect("import", browser.value(field(features[0], "description")), "changed")
    browser.value("document.getElementById('undo').click()")
    check_kept(browser, features)
    for content in ("", "a,b\n1,2\n", 'feat_id,description\n1,"open\n', "feat_id;description\n1;x\n"):
        write_file("bad.csv", content)
        expect("a bad file is named", import_file(browser, "bad.csv").startswith("bad.csv: "), True)
    check_kept(browser, features)
    expect("complaints", browser.complaints(), [])
    browser.close()
    # Without localStorage the page says so, and works.
    browser = Browser(program, profile)
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="""if (location.protocol === 'file:')
      Object.defineProperty(window, 'localStorage', {get: function () { throw new Error('refused'); }});""")
    browser.open(page)
    expect("the loss is said", browser.value("document.getElementById('lost').offsetHeight > 0"), True)
    expect("empty without it", progress(browser), "0 of %d labelled" % len(features))
    browser.key("u")
    browser.type("only here")
    expect("works without it", progress(browser), "1 of %d labelled" % len(features))
    expect("title", browser.value("document.title.indexOf('P8') + document.title.indexOf('P9')"), -2)
    browser.close()


def shown_phase(profile):
    browser = Browser(program, profile)
    browser.open(page)
    cards = browser.value("""Array.from(document.querySelectorAll('.label')).map(function (e) {
      var given = e.closest('.card').querySelector('.given');
      return [+e.dataset.feature, given.querySelector('b').textContent, given.textContent]; })""")
    expect("cards", len(cards), 50)
    for i, (feature, label, everything) in enumerate(cards):
        expect("label of %d" % feature, label, " ".join(TEXTS[i % len(TEXTS)].split()))  # spaces are made one
        expect("who, languages, confidence", [w in everything for w in ("Anna É.", "en fr", SURE[i % 3])], [True] * 3)
    expect("a table has them", browser.value("""Array.from(document.querySelectorAll('table')).filter(function (t) {
      return ['plural subject', 'pluriel é 日本'].every(function (w) { return t.textContent.indexOf(w) >= 0; });
      }).length > 0"""), True)
    expect("complaints", browser.complaints(), [])
    browser.close()


try:
    Browser(program, os.path.join(work, "profile-probe")).close()
except (TimeoutError, OSError, RuntimeError) as error:
    print("the browser cannot be driven (%s): skipped" % error)
    sys.exit(77)
try:
    {"label": label_phase, "import": import_phase, "shown": shown_phase}[phase](os.path.join(work, "profile-" + phase))
except TimeoutError as error:
    failures.append(str(error))
for failure in failures:
    print(failure)
sys.exit(1 if failures else 0)
