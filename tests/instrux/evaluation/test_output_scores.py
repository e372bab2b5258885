"""Scorers of answers: a fake Perspective server, a word list, judges, and what is kept of them."""

import http.server
import json
import threading

import numpy as np
import pytest

from instrux.errors import InputError
from instrux.evaluation import output_scores
from instrux.evaluation.compare import arms
from instrux.evaluation.predictions import Prediction, predictions_path, write_predictions
from instrux.evaluation.report import build_report
from instrux.evaluation.report_public import public_rows, published_rows
from instrux.evaluation.runs import read_run
from instrux.evaluation.toxicity import LexiconScorer, PerspectiveScorer
from instrux.evaluation.truth_judge import TruthJudge, question_of

TASK = "public_truthful_qa_qa"


@pytest.fixture
def perspective(monkeypatch):
    """A server that answers as it is told, in order, and keeps what it was asked."""
    answers, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((body, self.headers["X-Goog-Api-Key"], self.path))
            status, content, headers = answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("PERSPECTIVE_API_KEY", "secret")
    waits = []
    scorer = PerspectiveScorer(
        endpoint=f"http://127.0.0.1:{server.server_address[1]}/analyze",
        sleep=waits.append,
        requests_per_second=1e6,
        retries=2,
    )
    yield scorer, answers, asked, waits
    server.shutdown()
    thread.join()
    server.server_close()


def _says(value):
    return 200, {"attributeScores": {"TOXICITY": {"summaryScore": {"value": value}}}}, {}


def test_perspective_is_asked_for_toxicity_with_the_key_in_a_header(perspective):
    scorer, answers, asked, _ = perspective
    answers.append(_says(0.25))
    assert scorer.score("a prompt", "an answer") == 0.25
    body, key, path = asked[0]
    assert body["comment"] == {"text": "an answer"} and body["doNotStore"] is True
    assert list(body["requestedAttributes"]) == ["TOXICITY"] and body["languages"] == ["en"]
    assert key == "secret" and "secret" not in path
    assert scorer.score("a prompt", "  ") == 0.0 and len(asked) == 1  # the API takes no empty text


def test_perspective_is_asked_again_after_passing_failures(perspective):
    scorer, answers, _, waits = perspective
    answers += [(429, {}, {"Retry-After": "7"}), (503, {}, {}), _says(0.5)]
    assert scorer.score("", "x") == 0.5
    assert [w for w in waits if w >= 1] == [7.0, 2.0]
    answers += [(500, {}, {})] * 3
    with pytest.raises(InputError, match="3 tries failed, the last with 500"):
        scorer.score("", "x")


def test_perspective_s_refusal_is_told_at_once(perspective, monkeypatch):
    scorer, answers, asked, _ = perspective
    answers.append((403, {"error": {"message": "API key not valid."}}, {}))
    with pytest.raises(InputError, match=r"403: API key not valid\."):
        scorer.score("", "x")
    assert len(asked) == 1
    monkeypatch.delenv("PERSPECTIVE_API_KEY")
    with pytest.raises(InputError, match="set PERSPECTIVE_API_KEY"):
        scorer.score("", "x")


def test_perspective_keeps_to_its_rate(perspective):
    scorer, answers, _, waits = perspective
    scorer.requests_per_second = 0.1
    answers += [_says(0.1)] * 3
    for _ in range(3):
        scorer.score("", "x")
    assert len(waits) == 2 and waits[0] == pytest.approx(10, abs=1) and waits[1] > 15


QUESTIONS = {"Is it so?": " Yes.", "Was it?": " No.", "Who?": " Ada."}


@pytest.fixture
def folder(tmp_path):
    made = [
        Prediction(str(i), "qa", f"Q: first?\nA: one\n\nQ: {q}\nA:", "t", a, None, None, None, 0.0)
        for i, (q, a) in enumerate(QUESTIONS.items())
    ]
    write_predictions(predictions_path(tmp_path, TASK), made)
    return tmp_path


class Counted:
    """Says what it was told, and counts."""

    def __init__(self, name, scores):
        self.name, self.scores, self.asked = name, scores, []

    def score(self, prompt, completion):
        self.asked.append(completion)
        return self.scores[completion]


def test_true_and_informative_needs_both(folder):
    true = Counted("judge a", {" Yes.": 0.9, " No.": 0.6, " Ada.": 0.2})
    informative = Counted("judge b", {" Yes.": 0.7, " No.": 0.4, " Ada.": 0.8})
    made = output_scores.score_outputs(folder, [TASK], {"true": true, "informative": informative})
    shares = {each.scorer: each.share for each in made}
    assert shares == {
        "true": pytest.approx(2 / 3),
        "informative": pytest.approx(2 / 3),
        "true and informative": pytest.approx(1 / 3),
    }
    assert output_scores.read_output_scores(folder) == made
    # Nothing is asked twice, a line cut short by a kill apart.
    path = folder / "output_scores" / f"{TASK}.true.jsonl"
    path.write_text(path.read_text()[:-5])
    again = output_scores.score_outputs(folder, [TASK], {"true": true})
    assert len(true.asked) == 4 and {e.scorer for e in again} == set(shares)
    other = Counted("another judge", {" Yes.": 0.1, " No.": 0.1, " Ada.": 0.1})
    output_scores.score_outputs(folder, [TASK], {"true": other})
    assert len(other.asked) == 3


def test_a_word_list_finds_whole_words():
    scorer = LexiconScorer(("darn",))
    assert [scorer.score("", text) for text in ("Darn it", "darning", "")] == [1.0, 0.0, 0.0]


def test_a_judge_reads_the_last_question_and_gives_the_share_of_yes():
    asked = []

    def rank(prompts, options):
        asked.extend(prompts)
        assert options == [(" yes", " no")] * len(prompts)
        return [np.log([0.3, 0.1])] * len(prompts)

    prompt = "Read each question.\n\nQ: one?\nA: 1\n\nQ: Is it so?\nA:"
    assert TruthJudge(rank, "Helpful").score(prompt, "Yes.") == pytest.approx(0.75)
    assert asked == ["Q: Is it so?\nA: Yes.\nHelpful:"]
    assert question_of("Q: alone?\nA:") == "alone?"
    with pytest.raises(InputError, match="a judge of truth needs prompts"):
        question_of("Tell me.")


def test_table_14_stands_beside_a_user_s_own(make_run, made_task, tmp_path):
    about = make_run("mine", [made_task("public_rte", "few_shot", "public sets", 0.5)])
    (row,) = public_rows(arms([read_run(about)]))
    assert (row.name, row.statistic) == ("rte few shot", "accuracy")
    own, *published = row.cells
    score = read_run(about).results.tasks[0].score
    assert own == f"{score / 100:.3f}"
    assert published == ["0.585", "0.682", "0.614", "0.574", "0.657", "0.700"]


def test_no_verdict_is_given_on_entropy(make_run, made_task):
    options = {"metric": "pair_entropy"}
    about = make_run("mine", [made_task("crows", "basic", "public sets", 0.2, options=options)])
    verdict = build_report([read_run(about)], title="x").verdict
    assert (verdict.headline, verdict.groups) == ("No metric here says which model is better.", ())


def test_table_14_as_the_paper_prints_it():
    table = {(row.task, row.statistic): row.values for row in published_rows()}
    assert len(table) == 32
    assert table["public_crows_pairs_basic", "pair_entropy"][-1] == 0.241
    assert table["public_truthful_qa_qa_instruction", "true"][-1] == 0.852
    assert table["public_squad_v2_few_shot", "squad_v2_f1"] == (
        58.86,
        62.33,
        69.75,
        46.62,
        53.91,
        65.90,
    )


@pytest.mark.peers
def test_an_offline_classifier_gives_its_label_s_probability(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    from instrux.evaluation.toxicity import ClassifierScorer

    torch.manual_seed(0)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nso\nit\nis\n")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, problem_type="multi_label_classification",
        id2label={0: "toxic", 1: "insult"}, label2id={"toxic": 0, "insult": 1},
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    model.classifier.bias.data = torch.tensor([2.0, -2.0])
    model.classifier.weight.data.zero_()
    model.save_pretrained(tmp_path)
    scores = ClassifierScorer(str(tmp_path), batch_size=2).score_all([""] * 3, ["so", "it is", ""])
    assert scores == pytest.approx([1 / (1 + np.exp(-2))] * 3, rel=1e-5)
    assert ClassifierScorer(str(tmp_path), label="insult").score("", "so") == pytest.approx(
        1 / (1 + np.exp(2)), rel=1e-5
    )
    with pytest.raises(InputError, match="no label 'rude'; it has toxic, insult"):
        ClassifierScorer(str(tmp_path), label="rude").score("", "so")
    with pytest.raises(InputError, match="no classifier can be read here"):
        ClassifierScorer(str(tmp_path / "absent")).score("", "so")
