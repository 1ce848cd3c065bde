/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands and what their help says. */
#include "command.h"

#include "text.h"

#include <stdint.h>
#include <string.h>

static const char analysis_operand[] = "[RUN]";

const cli_command cli_commands[] = {
  {"run", IN_RUN, "Do all of it from one plan, and only what is not done yet", "PLAN", 1, 1, cli_run,
   "Takes the stages tokens, scales, accuracy, train, eval, attribute, known, ablate, features, evolve and report, in "
   "this order, and writes everything into the run directory that the plan names with its key out.\n\n"
   "A stage that is done is skipped as long as its options, the content of its inputs and the stages before it are "
   "unchanged: a changed l1 repeats train and what follows, a changed title the report only. The run can be stopped "
   "at any time (interrupt key, SIGTERM) and is continued by the same command, with the same result, bit for bit.\n\n"
   "With --snapshots the crosscoder is also kept as it was earlier in the training, and its effects are compared with "
   "the final ones; --stop-when-stable ends the training when they no longer change. doc/cost.md says what that "
   "measures.\n\n"
   "With --sweep it is also trained and evaluated with other values of one option, for the frontier of L0 against "
   "dCE.\n\n"
   "Every key of a plan is also an option; the command line wins over the plan.",
   "run.yaml\tthe plan as run, every default spelled out\nreport/index.html\tthe report, one page without network\n"
   "stages/\twhat was done with which options and inputs\nlog.jsonl\twhat happened when\n"
   "manifest.json\tversions, hashes of inputs, command lines\n"
   "convergence.csv, .json\twith --snapshots\nbaselines/\twith --compare-baselines\n"
   "sweep/sweep.csv\twith --sweep\n",
   "  Do what the plan says, or what of it is still to be done:\n    crosscoder run plan.yaml\n"
   "  What will it need?\n    crosscoder run plan.yaml --estimate\n"
   "  The same plan with another seed, into another directory:\n    crosscoder run plan.yaml --seed=2 --out=run-2\n"
   "  How early were its effects what they are at the end?\n    crosscoder run plan.yaml "
   "--snapshots=0.01,0.05,0.25,0.5\n"
   "  L0 against dCE for other values of lambda:\n    crosscoder run plan.yaml --sweep=l1:0.2,0.4,0.8\n"},
  {"init", IN_INIT, "Write a commented plan for given checkpoints", "[CHECKPOINT...]", 0, 32, cli_init,
   "Checkpoints are given as operands, oldest first, as --checkpoints, or as --model with --revisions. The plan names "
   "every option with its default, a layer in the middle of the model unless --layer is given, and says what it will "
   "need. The training budget is chosen so that the whole plan fits into --hours by the speed measured here; without "
   "--hours and --tokens into 24 hours and 20 passes over the corpus.\n\n"
   "The plan goes to standard output or to --out, which is not overwritten without --force.",
   NULL,
   "  A plan for three folders:\n    crosscoder init step64 step512 step4096 --corpus=train.jsonl --heldout=test.jsonl "
   "--out=plan.yaml\n"
   "  For revisions in the local Hugging Face cache, in one night:\n    crosscoder init "
   "--model=EleutherAI/pythia-70m --revisions=step512,step4000,main --hours=8\n"},
  {"inspect", IN_INSPECT, "Say what a file or folder is", "PATH...", 1, SIZE_MAX, cli_inspect,
   "Tells models, tokenizers, crosscoders, stores of activations, runs, safetensors and .npy files by their content, "
   "checks their headers, and prints what they hold.",
   NULL,
   "  A checkpoint, and the same as JSON:\n    crosscoder inspect examples/tiny-pythia/step64\n"
   "    crosscoder inspect --json examples/tiny-pythia/step64\n"
   "  A file whose name starts with a hyphen:\n    crosscoder inspect -- -rf\n"},
  {"tokenize", IN_TOKENIZE, "Turn text into tokens, and back", "", 0, 0, cli_tokenize,
   "Without further options the corpus becomes sequences of --length tokens, as training sees them; with --out they "
   "are written as .npy, else only counted. With --ids every document becomes one JSON array of ids on standard "
   "output, without any added token. With --decode arrays of ids (one a line) or a .npy become text.\n\n"
   "--corpus=- reads JSON lines from standard input.",
   NULL,
   "  Sequences for training:\n    crosscoder tokenize --tokenizer=step64 --corpus=train.jsonl --length=128 "
   "--out=train.npy\n"
   "  Ids of each document:\n    crosscoder tokenize --tokenizer=tokenizer.json --corpus=- --ids < texts.jsonl\n"
   "  And back:\n    crosscoder tokenize --tokenizer=tokenizer.json --corpus=ids.jsonl --decode\n"},
  {"accuracy", IN_ACCURACY, "Measure the accuracy on minimal pairs at every checkpoint", "", 0, 0, cli_accuracy,
   "The share of pairs whose right continuation is more probable than the wrong one, with a Wilson 95 % interval, per "
   "checkpoint, task, language and group, as CSV (--out or standard output). Models are opened one after the other.\n\n"
   "With --scoring=sentence whole sentences are scored, and every paradigm of a data set can be used: the sum of the "
   "log-probabilities of all tokens behind the start token, over the whole vocabulary, is lm-evaluation-harness's acc; "
   "--normalize gives its other measures.",
   NULL,
   "  Two checkpoints, one task:\n    crosscoder accuracy --checkpoints=early=step64,late=step4096 "
   "--task=pairs:pairs/en_simple.jsonl\n"
   "  All paradigms of BLiMP as lm-evaluation-harness scores them:\n    crosscoder accuracy "
   "--model=EleutherAI/pythia-70m --revisions=step512,main --task=blimp:blimp/data --scoring=sentence\n"
   "  Everything that a plan names:\n    crosscoder accuracy --config=plan.yaml --out=accuracy.csv\n"},
  {"audit", IN_AUDIT, "Check revisions before anything is computed", "", 0, 0, cli_audit,
   "Reads all weights of every revision and says which are byte-identical, equal in every value, equal to main, "
   "incomplete, not finite, or of other shapes than config.json says. With --heldout or --corpus also the perplexity "
   "on that text, with outliers marked: the largest set of revisions over which the loss never rises by more than 0.2 "
   "nats from one to the next is taken as the course of training. Revisions before --min-tokens are warned of.\n\n"
   "Every finding is a WARN line; the exit status is 0 with findings, and 3 when a revision cannot be read, after all "
   "have been looked at.",
   NULL,
   "  All revisions that are in the cache:\n    crosscoder audit --model=EleutherAI/pythia-70m "
   "--revisions=step512,step1000,main\n"
   "  With perplexities:\n    crosscoder audit --model=examples/tiny-pythia --revisions=step0,step512,step2048 "
   "--heldout=examples/tiny-pythia/heldout.jsonl --length=128 --out=audit.csv\n"
   "  How long will that take?\n    crosscoder audit --model=EleutherAI/pythia-1b --revisions=step512,main "
   "--heldout=text.jsonl --estimate\n"},
  {"similarity", IN_SIMILARITY, "Compare the activations of all pairs of checkpoints", "", 0, 0, cli_similarity,
   "Mean over tokens of the cosine and of the Pearson correlation of the residual stream at --layer, for every pair of "
   "checkpoints, over --sample tokens of --heldout, --corpus, or the prompts of --task. Every model runs once; its "
   "activations are kept as bf16 in memory, or in a temporary file beside --out where --max-memory leaves too little "
   "room for them beside the largest model.",
   NULL,
   "  All revisions:\n    crosscoder similarity --model=examples/tiny-pythia --revisions=step0,step64,step512,step2048 "
   "--layer=2 --heldout=examples/tiny-pythia/heldout.jsonl --length=128 --out=similarity.csv\n"},
  {"select", IN_SELECT, "Propose the checkpoints to compare, with reasons", "", 0, 0, cli_select,
   "Cuts the revisions into --count consecutive blocks that explain as much as possible of how accuracies and "
   "activations differ, and names the most typical revision of each block; change points come with intervals. The "
   "criterion is stated in doc/selecting.md. With --out a folder gets the checkpoints of each proposal as keys of a "
   "plan and a report with accuracy over tokens and heat maps. With --runs it also says how far the classes of "
   "features agree between runs of different proposals.",
   "proposal-N.yaml\tkeys of a plan\nselection.json\twhat was chosen and why\nreport/index.html\tthe report\n",
   "  From the tables of the two commands before:\n    crosscoder select --accuracy=accuracy.csv "
   "--similarity=similarity.csv --model=EleutherAI/pythia-70m --out=selection\n"
   "  Pairs instead of triplets, by accuracy alone:\n    crosscoder select --accuracy=accuracy.csv --count=2\n"},
  {"harvest", IN_HARVEST, "Store the activations of all checkpoints at one or several layers", "", 0, 0, cli_harvest,
   "Runs every checkpoint over the same tokens and writes the residual stream as bf16 into the folder --out, in "
   "shards with checksums. An interrupted harvest is continued by the same command. Training from the store gives the "
   "same bits as training from live models.",
   NULL,
   "  Two layers of three checkpoints:\n    crosscoder harvest --config=plan.yaml --layers=2,3 --out=store\n"
   "  How large will it be?\n    crosscoder harvest --config=plan.yaml --layer=3 --out=store --estimate\n"},
  {"train", IN_TRAIN, "Train a crosscoder from live models or a store", "", 0, 0, cli_train,
   "Writes the run directory --out, which must not exist unless --resume continues it or --force replaces it. "
   "Training is stopped by the interrupt key or SIGTERM with its state saved; --resume continues bit for bit, also "
   "with another number of threads.",
   "crosscoder.safetensors\tthe crosscoder\nmetrics.csv\tloss, L0, explained variance over the steps\n"
   "timing.csv\tspeed and memory\ncheckpoints/\tthe newest saved states\nrun.yaml\tall options as used\n",
   "  As a plan says:\n    crosscoder train --config=plan.yaml --out=run\n"
   "  Continue after a stop:\n    crosscoder train --config=plan.yaml --out=run --resume\n"
   "  Memory, disk and time, nothing else:\n    crosscoder train --config=plan.yaml --out=run --estimate\n"},
  {"eval", IN_EVAL, "Measure how good a crosscoder is", analysis_operand, 0, 1, cli_eval,
   "On held-out text: L0, dead features, explained variance, and what splicing the reconstruction into the model does "
   "to its cross-entropy and to the tasks. With --gold also how well features tell what is known of each sentence. "
   "Ends with verdict lines, PASS or WARN; each WARN names a remedy.\n\n"
   "RUN is a run directory (its run.yaml gives all options that are not given here) or a crosscoder file.",
   "eval.json, eval.csv\tthe measures\nlatent-scaling.csv\twhether other checkpoints have a feature\nknown.json, "
   "known.csv\twith --gold\n",
   "  A run, with the options it was made with:\n    crosscoder eval run\n"
   "  On other text:\n    crosscoder eval run --heldout=other.jsonl --eval-batches=100\n"},
  {"attribute", IN_ATTRIBUTE, "Measure the indirect effect of every feature at every checkpoint", analysis_operand,
   0, 1, cli_attribute,
   "Integrated gradients of the difference of two logits along the path from the activations to a baseline, per "
   "feature and checkpoint, and RelIE, its share over the checkpoints, with intervals. The completeness gap says how "
   "exact the sum is. --compare-baselines repeats it with every baseline and says how far they agree. When interrupted "
   "it keeps the examples that are done and goes on behind them the next time.",
   "effects/TASK.csv, .json, .safetensors\tper feature, in all, per example\n"
   "baselines/TASK.csv, .json\twith --compare-baselines\n",
   "  All tasks of a run:\n    crosscoder attribute run\n"
   "  Do the effects depend on the baseline?\n    crosscoder attribute run --compare-baselines\n"
   "  One task as the paper's code does it:\n    crosscoder attribute run --task=blimp:blimp/data "
   "--conventions=authors\n"
   "  More resamples for the intervals, without the models:\n    crosscoder attribute run --bootstrap=10000 "
   "--retabulate\n"},
  {"ablate", IN_ABLATE, "Ablate single features and see what changes", analysis_operand, 0, 1, cli_ablate,
   "Sets each of the features with the largest effects to zero, one at a time, and measures accuracy and "
   "log-probability difference at every checkpoint. Needs attribute before it, unless --feature names the features.",
   "ablation/TASK.csv, .json\tper feature and checkpoint; rank correlation with RelIE and RelDec\n",
   "  The features with the largest effects:\n    crosscoder ablate run\n"
   "  Two features:\n    crosscoder ablate run --feature=17,402\n"},
  {"features", IN_FEATURES, "Describe every feature by contexts, tokens and logits", analysis_operand, 0, 1,
   cli_features,
   "One pass over the held-out text (or the corpus) describes every feature that fires: density, strongest, typical "
   "and negative contexts, the tokens it fires on, as a whole and by checkpoint of origin, its activity by task and by "
   "language, the tokens its decoder promotes at each checkpoint, and its nearest features. The features with the "
   "largest effects, those of --feature, or all, also get a card.\n\n"
   "--token-labels names a file with labels of tokens: JSON lines with \"ids\" or \"tokens\" and lists of labels as "
   "long as these, or CoNLL-U. Then every feature also gets the label that it tells best at each checkpoint.",
   "features/database.safetensors\tevery feature\nfeatures/features.csv\tthe same as a table\n"
   "features/features.json\tthe cards\nfeatures/token-labels.csv\twith --token-labels\n",
   "  Every feature, cards of those with the largest effects:\n    crosscoder features run\n"
   "  Cards of two features, and which labels they tell:\n    crosscoder features run --feature=17,402 "
   "--token-labels=en_ewt-ud-test.conllu\n"},
  {"evolve", IN_EVOLVE, "Say how features come and go over the checkpoints", "[RUN...]", 0, 64, cli_evolve,
   "From the effects and the database of features of a run, without the models: the life cycle of every feature "
   "(emerging, persisting, vanishing, re-emerging, transient) with its onset and how sure that is, flows between the "
   "states of features against what they would be if time had no order, whether late features are less bound to single "
   "tokens than early ones, and which features languages share. Needs attribute before it; with features before it "
   "also compares token-specificity by class.\n\n"
   "Several runs are windows of checkpoints that overlap, in the order of training. Their features are matched one to "
   "one by their decoders at the checkpoints in common, and pairs more similar than any that chance gives are joined "
   "into lives over all checkpoints. This needs the models and the held-out text.",
   "evolution.csv\tthe life of each feature, for all tasks and for each\n"
   "evolution.json\tcounts, flows, classes, languages, with their tests\n"
   "evolution-languages.csv\tlanguages of the strongest features\n"
   "chain/chain.csv, chain/chain-links.csv, chain/chain.json\tof several runs, in the first one's folder or in --out\n",
   "  A run:\n    crosscoder evolve run\n"
   "  With finer p values and larger sets of languages:\n    crosscoder evolve run --permutations=10000 --top=50\n"
   "  Three windows as one axis:\n    crosscoder evolve early middle late --out=chain\n"},
  {"show", IN_SHOW, "Show verdicts and top features in the terminal", "RUN [ID]", 1, 2, cli_show,
   "Without ID: how good the crosscoder is, and the features with the largest effects. With ID: the card of one "
   "feature. With --text: the features that are active in a sentence, per token and checkpoint; with --good and --bad "
   "also their effects on choosing the one next word over the other.",
   NULL,
   "  The summary and a card:\n    crosscoder show run\n    crosscoder show run 17\n"
   "  A sentence:\n    crosscoder show run --text='The keys to the cabinet' --good=' are' --bad=' is'\n"},
  {"compare", IN_COMPARE, "Match the features of two or more runs", "RUN...", 1, 64, cli_compare,
   "Runs differ in seed, layer, checkpoints or model. Their features are matched one to one on the same text by the "
   "optimal assignment: by the cosine of decoder directions where layer and checkpoints are the same, else by the "
   "correlation of activations. Printed: how many features recur, how many of the top features of one run are top "
   "features of the other, and how far their RelIE and classes agree; beside it the same where nothing can match.\n\n"
   "Tokenizers may differ: positions meet by the bytes of text that they end at.\n\n"
   "With --transfer the activations of another checkpoint take one slot of a run's crosscoder, nothing retrained, and "
   "its effects are compared with those of the run.",
   "transfer/NAME/transfer.json, effects/\twith --transfer, in the run's folder\n"
   "compare.json\tper pair of runs and task\nmatches.csv\tfeature by feature\nstability.csv\tper feature, how often "
   "it recurs; with the first run's report on its cards\n"
   "seeds.csv\tRelIE of the first run's features over the runs made alike, with intervals; on its cards, too\n",
   "  Two seeds:\n    crosscoder compare run run-seed2\n"
   "  Two models, on other text:\n    crosscoder compare pythia olmo --heldout=text.jsonl --out=both\n"
   "  Another revision in the slot of step2048:\n    crosscoder compare run --transfer=step2048=step1024\n"},
  {"report", IN_REPORT, "Write the report of a run", analysis_operand, 0, 1, cli_report,
   "One HTML page that needs no network, its figures as SVG and its tables as CSV. Works on an unfinished run, too: "
   "the page says what is missing.",
   "report/index.html\tthe page\nreport/figures/\tevery figure as SVG\nreport/tables/\tevery number as CSV\n",
   "  Into RUN/report:\n    crosscoder report run\n  With the quality of two more seeds beside it:\n    crosscoder "
   "report run --beside=run-2,run-3\n  Elsewhere:\n    crosscoder report run --out=/tmp/page\n"},
  {"labels", IN_LABELS, "Merge what annotators called the features, and say how far they agree", "RUN [FILE...]", 1,
   SIZE_MAX,
   cli_merge_labels,
   "Takes files that annotators saved from the report (labels.csv) or wrote in a spreadsheet: CSV with the columns "
   "feat_id and description, and if there languages, annotator and confidence (low, medium, high); other columns are "
   "passed over. Without an annotator a file counts as that of the person it is named after (anna.csv). They are "
   "merged into RUN, one label a feature and annotator; of several files the last counts. One wrong line, and nothing "
   "is changed.\n\n"
   "Prints Cohen's kappa of each pair of annotators over the features that both have labelled, Fleiss' kappa over "
   "those that all have, and the features on which they differ. Labels count as equal regardless of case and spaces, "
   "languages also of order. Without FILE nothing is merged. The labels are on the cards, figures and tables of the "
   "next report.",
   "labels.csv\tone row a feature and annotator, columns as in the authors' files\nlabels.json\tagreement, "
   "disagreements\n",
   "  What two people saved, then the page with it:\n    crosscoder labels run anna.csv ben.csv\n    crosscoder "
   "report run\n"
   "  How far do they agree?\n    crosscoder labels run --json\n"},
  {"import", IN_IMPORT, "Read a crosscoder of another program", "PATH", 1, 1, cli_import,
   "PATH is a file of weights or the folder of one: the paper's code and the replication it grew from (.pt with "
   "cfg.json), dictionary_learning (model_final.pt or model.safetensors with config.json), or SAELens (one "
   "checkpoint). Which one is told by the tensors. Nothing in the files is executed; an architecture that is not known "
   "is refused by name.\n\n"
   "What is written is a crosscoder file that eval, attribute, ablate, features and show take. It is read again and "
   "compared bit for bit, and the output says whether the weights are folded.",
   NULL,
   "  A checkpoint of the paper's code:\n    crosscoder import version_3/20.pt --out=crosscoder.safetensors\n"
   "  One whose files have no scales:\n    crosscoder import gemma --scales=0.275,0.241 --labels=base,chat "
   "--out=crosscoder.safetensors\n"},
  {"export", IN_EXPORT, "Write a crosscoder for another program", "PATH", 1, 1, cli_export,
   "PATH is a run or a crosscoder file. --form says for whom; --out is the new folder. What was written is read again "
   "and compared bit for bit. A crosscoder that a form cannot hold is refused with the reason. doc/exchange.md says "
   "what every form holds.",
   "cc_weights.pt, cfg.json\t--form=authors\nmodel_final.pt, config.json\t--form=dictionary-learning\n"
   "sae_weights.safetensors, cfg.json\t--form=saelens\nae.pt, config.json\t--form=dictionary-learning-sae\n",
   "  For the paper's code:\n    crosscoder export run --out=for-authors\n"
   "  For dictionary_learning:\n    crosscoder export run --form=dictionary-learning --out=for-learning\n"},
  {"devices", IN_DEVICES, "List backends, devices and instruction sets", "", 0, 0, cli_devices,
   "Prints what this machine offers. With --self-test every operation of --device is run once against the slow "
   "reference.",
   NULL,
   "  What is there:\n    crosscoder devices\n  Is it right?\n    crosscoder devices --device=cpu --self-test\n"},
  {"help", IN_HELP, "Explain a command", "[COMMAND]", 0, 1, cli_help, "The same as crosscoder COMMAND --help.", NULL,
   "  The help of train:\n    crosscoder help train\n"},
};

const size_t n_cli_commands = sizeof cli_commands / sizeof *cli_commands;

const cli_command *cli_find_command(const char *name) {
  for (size_t i = 0; i < n_cli_commands; i++)
    if (strcmp(cli_commands[i].name, name) == 0)
      return &cli_commands[i];
  return NULL;
}

const char *cli_nearest_command(const char *name) {
  const char *nearest = NULL;
  size_t least = 3; /* farther names would be guesses */
  for (size_t i = 0; i < n_cli_commands; i++) {
    size_t distance = cli_distance(name, cli_commands[i].name);
    if (distance < least) {
      least = distance;
      nearest = cli_commands[i].name;
    }
  }
  return nearest;
}
