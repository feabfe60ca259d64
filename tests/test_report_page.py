"""The page, the Markdown and the comparison, from reports whose every number is known."""

import copy
import dataclasses
import html
import json
import re
from xml.etree import ElementTree

import pytest
from reports import LABELS, bare, make

from learned_opt.eval.report import (
    compare_reports,
    comparison_html,
    read_report,
    report_from_json,
    to_html,
    to_markdown,
    write_comparison,
    write_report,
)
from learned_opt.eval.report.figures import colour_of

OWN_PART = re.compile(r"<svg role=.*?</svg>", re.S)


@pytest.fixture(scope="module")
def full():
    return report_from_json(make(4))


@pytest.fixture(scope="module")
def page(full):
    return to_html(full)


def figures(page):
    return OWN_PART.findall(page)


def visible(page):
    """What a person reads: no style, no data, no tags."""
    page = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", page, flags=re.S)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def section(page, key):
    return re.search(rf'<details id="{key}">.*?</details>', page, re.S)[0]


def test_equal_reports_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        made = make(1, ("adamw", "sgdm"), ((0, "sgdm"),))
        if name == "two":  # the order of failures means nothing
            made["failures"].reverse()
        (tmp_path / name).mkdir()
        write_report(report_from_json(made), tmp_path / name)
    for file in ("report.json", "report.html", "report.md", "report.svg"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    # What is written is read back as it was, from the data and from the page.
    for file in ("report.json", "report.html"):
        again = read_report(tmp_path / "one" / file)
        assert again.schema == 3
        assert len(again.failures) == 4
        assert dataclasses.replace(again, failures=[]) == report_from_json(made | {"failures": []})


def test_the_page_fetches_nothing_and_runs_nothing(page):
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!["']?#)""", page)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    assert re.findall(r"<script([^>]*)>", page) == [' type="application/json" id="report"']
    assert not re.search(r"\son\w+=", page)


def test_the_embedded_data_is_the_report():
    made = bare()
    made["subject"]["name"] = "</script><b>x</b>"
    report = report_from_json(made)
    (data,) = re.findall(r'id="report">(.*?)</script>', to_html(report), re.S)
    assert json.loads(data) == report.to_json()


def test_every_figure_is_there_and_valid(page, full):
    found = figures(page)
    for figure in found:
        ElementTree.fromstring(figure)
    labels = [re.search('aria-label="([^"]*)"', figure)[1] for figure in found]
    names = [task.name for task in full.tasks]
    for split in ("train", "test"):
        assert all(labels.count(f"{name}: {split} loss") == 1 for name in names)
    assert all(labels.count(f"{name}: valid loss") == 2 for name in names)  # steps and seconds
    for what in ("loss by learning rate", "loss by settings tried"):
        assert all(f"{name}: {what}" in labels for name in names)
    for what in (
        "speed-up over AdamW", "final loss over AdamW", "performance profile",
        "pooled final loss over each", "best of so many trials",
        "pooled speed-up", "probability of improvement", "generalisation, AdamW retuned",
        "generalisation, AdamW transferred", "over AdamW&#x27;s, by load",
        "over AdamW&#x27;s, by task",
        "cosine to Adam", "along meta-training", "told a wrong horizon",
    ):  # fmt: skip
        assert any(what in label for label in labels), what
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_an_optimizer_has_one_colour_in_every_figure(page, full):
    names = list(full.optimizers)
    seen = dict.fromkeys(names, 0)
    for figure in figures(page):
        for group in ElementTree.fromstring(figure).iter():
            mark = re.fullmatch(r"o(\d+)", group.get("class", ""))
            if not mark:
                continue
            name = names[int(mark[1])]
            drawn = {
                colour.lower()
                for part in group.iter()
                for colour in re.findall(r"(?:stroke|fill):(#\w{6})", part.get("style", ""))
            } - {"#ffffff"}
            assert drawn == {colour_of(name).lower()}, (name, drawn)
            seen[name] += 1
    assert min(seen.values()) > 10
    for name in names:
        assert f'stroke="{colour_of(name)}"' in page


def test_a_censored_speed_up_is_never_a_number_alone(page, full):
    (conv,) = (task for task in full.tasks if task.name == "shapes-conv")
    assert conv.against["adamw"].speedup.bound == ">"
    text = visible(page)
    assert ">1.50x [1.34, …]" in text
    assert not re.search(r"(?<!>)\b1\.50x (as fast|\[)", text)
    assert "&gt;1.5" not in to_markdown(full)
    assert ">1.50x [1.34, …]" in to_markdown(full)
    (speeds,) = [f for f in figures(page) if "speed-up over AdamW, task by task" in f]
    assert 'class="censored"' in speeds
    assert "<0.68x" in text  # the other way round


def test_a_speed_up_between_two_bounds_is_both():
    made = bare()
    for found in (made["tasks"][0]["against"]["adamw"], made["groups"][0]["against"]["adamw"]):
        found["speedup"] |= {"mid": None, "low": 0.5, "high": 2.0, "text": "0.67x to 1.50x"}
    report = report_from_json(made)
    assert "0.67x to 1.50x as fast [0.50, 2.00]" in visible(to_html(report))
    assert "0.67x to 1.50x [0.50, 2.00]" in to_markdown(report)


def test_diverged_cells_are_hatched_and_failures_listed(page, full):
    heat = [f for f in figures(page) if "generalisation" in f]
    assert [f.count('class="diverged"') for f in heat] == [2, 2]
    assert all("<pattern" in f for f in heat)
    assert f"Failures ({len(full.failures)})" in page
    rows = re.findall(r"<tr.*?</tr>", section(page, "failures"), re.S)[1:]
    assert len(rows) == len(full.failures) == 4
    assert all("SGD momentum" in row for row in rows)
    assert "diverged" in visible(section(page, "every"))
    # The curve of the run that diverged ends before the others, in a cross.
    curve = next(f for f in figures(page) if 'aria-label="digits-conv: valid loss"' in f)
    marks = curve.count('class="o7"')
    assert list(full.optimizers)[7] == "sgdm"
    assert marks == 2


@pytest.mark.parametrize(
    "made", [make(1), bare(), make(2, ("adamw",), ((0, "learned"), (1, "adamw")))]
)
def test_nothing_prints_that_is_no_number(made):
    report = report_from_json(made)
    page = to_html(report)
    for text in (visible(page), to_markdown(report)):
        assert not re.search(r"\b(nan|None|inf|null|undefined|Infinity)\b", text, re.I)
    assert not re.search(r"\b(nan|inf)\b", "".join(figures(page)), re.I)


def test_missing_parts_leave_no_gap():
    page = to_html(report_from_json(bare()))
    found = re.findall(r'<details id="(\w+)"', page)
    assert found == ["baselines", "settings", "every", "provenance", "failures"]
    assert re.findall(r'<section id="(\w+)"', page) == ["curves", "losses", "speed"]
    assert "No run of any optimizer ended" in page
    assert not re.search(r"<(div|section|figure|p|table|tbody)[^>]*></\1>", page)


def rows_of(page):
    """Of the headline table: kinds, and the label and cells of each optimizer."""
    body = re.search(r'<table class="headline">.*?<tbody>(.*?)</tbody>', page, re.S)[1]
    return re.findall(r"<tr.*?</tr>", body, re.S)


def test_optimizers_stand_by_kind_the_hardest_to_beat_first(page, full):
    found = []
    for row in rows_of(page):
        label = re.search(r"</svg>([^<]*)<", row) or re.search(r"<span>([^<]*)<", row)
        found.append(label[1])
    assert found == [
        "Nobody tuned, told the number of steps", "quickstart, untuned", "AdamW, one setting",
        "Nobody tuned, not told the number of steps", "Adam 1e-3, untuned",
        "Tuned for each task", "Muon, tuned", "AdamW, tuned", "Schedule-free AdamW, tuned",
        "Lion, tuned", "AdaBelief, tuned", "Adam constant, tuned", "SGD momentum, tuned",
        "Other learned optimizers", "Celo (imported)",
    ]  # fmt: skip
    pooled = [full.groups[0].against[name].clipped.mid for _, names in full.kinds
              for name in names if name != "learned"]  # fmt: skip
    shown = [float(x) for x in re.findall(r"<td[^>]*>([\d.]+) <small>\[", "".join(rows_of(page)))]
    assert shown == [float(f"{x:.2f}") for x in pooled]
    free = [row for row in rows_of(page) if "<small>not told the number of steps" in row]
    assert [re.search(r"</svg>([^<]*)<", row)[1] for row in free] == (
        ["Schedule-free AdamW, tuned", "Adam constant, tuned"]
    )


def test_a_row_that_diverges_says_so(page, full):
    """In the table and in Markdown; 4 of 10 runs did on one of four tasks."""
    (row,) = [row for row in rows_of(page) if "SGD momentum" in row]
    assert "<small>diverged in 4 of 40 runs</small>" in row
    assert "<small>4 diverged</small>" in row
    assert sum("diverged in" in row for row in rows_of(page)) == 1
    (line,) = re.findall(r"^\| SGD momentum.*$", to_markdown(full), re.M)
    assert "diverged" in line


def test_numbers_of_the_headline_table(page, full):
    """Ratio over AdamW on the second task: 1 / (1.15 * 0.78), worse; over SGD: better."""
    index = [task.name for task in full.tasks].index("digits-mlp")
    order = [0, 1, 2, 3]  # each of four tasks is of another kind
    column = order.index(index)
    results, shown, best = full.tasks[index].results, {}, []
    for row in rows_of(page):
        label = re.search(r"</svg>([^<]*)<", row)
        cells = re.findall(r'<td class="([^"]*)">([\d.]+|diverged)<small>test', row)
        if label and len(cells) == 4:
            marks, value = cells[column]
            shown[label[1]] = (marks, value)
            best += [label[1]] * ("best" in marks)
    for name, facts in full.optimizers.items():
        if name != "sgdm":  # it diverged elsewhere
            assert shown[facts.label][1] == f"{results[name].valid_loss:#.4g}"
    lowest = min(results, key=lambda name: results[name].valid_loss)
    assert best == [full.optimizers[lowest].label]
    assert "tint-worse" in shown["AdamW, tuned"][0]
    assert "tint-better" in shown["Adam 1e-3, untuned"][0]


def test_what_trials_buy_is_a_figure_and_a_table(page, full):
    part = re.search(r'<section id="budgets">.*?</section>', page, re.S)[0]
    rows = re.findall(r"<tr.*?</tr>", part, re.S)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in rows]
    assert cells[0] == ["best of", "1", "2", "4", "8", "26"]
    assert cells[1][1:] == [
        "1.10 <small>[1.02, 1.19]</small>", "1.05 <small>[0.97, 1.13]</small>",
        "1.02 <small>[0.95, 1.11]</small>", "1.01 <small>[0.94, 1.09]</small>", "–",
    ]  # fmt: skip
    (drawn,) = OWN_PART.findall(part)[:1]
    marks = {f'class="o{full.index(name)}"' for name in full.budgets.rows}
    assert len(marks) == 3
    assert all(mark in drawn for mark in marks)
    assert "by 1, 0.3, 3, 0.1, 10, 0.03, 30, 0.01, in this order" in visible(part)
    assert "| quickstart, step multiplied | 1.10 [1.02, 1.19] | 1.05" in to_markdown(full)


def test_names_are_escaped():
    made = make(1, ("adamw",))
    for where in (made["tasks"][0], made["subject"], made["optimizers"]["adamw"]):
        where["name"] = where["label"] = '<img src=x onerror="1">&'
    made["groups"][0]["tasks"] = made["groups"][1]["tasks"] = [made["tasks"][0]["name"]]
    made["subject"]["card"] = {"<i>": "</main>"}
    page = to_html(report_from_json(made))
    page = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "<img" not in page
    assert "<i>" not in page
    assert page.count("</main>") == 1
    for figure in figures(page):
        ElementTree.fromstring(figure)


def test_the_figure_of_the_markdown_stands_alone(tmp_path):
    write_report(report_from_json(bare()), tmp_path)
    drawing = (tmp_path / "report.svg").read_text()
    root = ElementTree.fromstring(drawing)
    width, height = root.attrib["viewBox"].split()[2:]
    assert (root.attrib["width"], root.attrib["height"]) == (width, height)
    assert root[0].attrib["fill"] == "#ffffff"
    assert "letters-mlp" in "".join(root.itertext())
    assert "](report.svg)" in (tmp_path / "report.md").read_text()


def test_markdown_tables_are_well_formed():
    made = make(3)
    for pooled in made["groups"][:2]:
        pooled["tasks"][0] = "a|b*c"
    made["tasks"][0]["name"] = "a|b*c"
    text = to_markdown(report_from_json(made))
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 3
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1
    # What was seen, four kinds, eleven optimizers, the speed-up.
    assert len(tables[0].splitlines()) == 2 + 1 + 4 + 11 + 1
    assert made["sentence"] in text
    assert "learned-opt eval quickstart --suite META_TEST_V1" in text


def test_a_page_of_twelve_tasks_is_under_three_megabytes(page):
    """A task takes as much as the next one."""
    assert 3 * len(page.encode()) < 3_000_000


def test_only_finite_numbers_are_written(tmp_path):
    with pytest.raises(ValueError, match="finite"):
        write_report(dataclasses.replace(report_from_json(bare()), seconds=float("nan")), tmp_path)


def worse(report, factor, times=1.0):
    """The same JSON with a learned optimizer whose every loss and time is so much higher."""
    made = copy.deepcopy(report)
    made["subject"]["name"] = "other"
    for task in made["tasks"]:
        ours = task["results"]["learned"]
        for which, losses in ours["seed_losses"].items():
            ours["seed_losses"][which] = [x * factor for x in losses]
        ours["times"]["90"] = [x * times for x in ours["times"]["90"]]
    return made


def test_a_comparison_of_known_reports(tmp_path):
    a = make(3)
    found = compare_reports(report_from_json(a), report_from_json(worse(a, 1.25, 2.0)))
    for pooled in (found.all, *found.tasks):
        assert vars(pooled.valid_ratio) == pytest.approx({"mid": 0.8, "low": 0.8, "high": 0.8})
        assert pooled.test_ratio.mid == pytest.approx(0.8)
        assert pooled.speedup.mid == pytest.approx(2.0)
        assert pooled.speedup.bound == ""
    assert found.verdict == {"better": 3, "worse": 0, "undecided": 0}
    assert found.sentence.startswith("quickstart is better than other on 3 of 3 tasks, worse on")
    write_comparison(found, tmp_path)
    page = (tmp_path / "compare.html").read_text()
    assert "0.80 [0.80, 0.80]" in visible(page)
    for figure in figures(page):
        ElementTree.fromstring(figure)
    assert "| all tasks | better | 0.80 [0.80, 0.80] |" in (tmp_path / "compare.md").read_text()
    written = json.loads((tmp_path / "compare.json").read_text())
    assert list(written) == [
        "schema", "names", "subjects", "suite", "suite_hash", "tier", "seeds", "codes", "tasks",
        "all", "verdict", "sentence",
    ]  # fmt: skip
    assert written["all"]["speedup"]["text"] == "2.00x"


def test_misses_bound_the_speed_up_of_a_comparison():
    a = make(1)
    b = worse(a, 1.0)
    b["tasks"][0]["results"]["learned"]["times"]["90"] = [None] * 10
    last = a["tasks"][0]["results"]["learned"]["steps"][-1]
    a, b = report_from_json(a), report_from_json(b)
    found = compare_reports(a, b).all.speedup
    # Ours came at 100 .. 109; theirs later than the last step: the middle half of log2 ratios.
    assert last / 109 < found.mid < last / 100
    assert (found.bound, found.high) == (">", None)
    turned = compare_reports(b, a).all.speedup
    assert turned.mid == pytest.approx(1 / found.mid, rel=1e-5)
    assert (turned.bound, turned.low) == ("<", None)
    assert ">1" in visible(comparison_html(compare_reports(a, b)))
    assert compare_reports(b, b).all.speedup.mid is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(suite="other"), "differ in suite: META_TEST_V1 and other"),
        (lambda r: r.update(tier="gpu"), "differ in tier: cpu and gpu"),
        (lambda r: r.update(seeds=3), "differ in number of seeds: 10 and 3"),
        (lambda r: r["tasks"][0].update(name="x"), "differ in tasks"),
        (lambda r: r["tasks"][1].update(horizon=5), "the horizon of digits-mlp: 2,000 and 5"),
        (lambda r: r["tasks"][1]["targets"].update(best=0.2), "target losses of digits-mlp"),
    ],
)
def test_what_cannot_be_paired_is_refused(change, message):
    one, other = make(2, ("adamw",)), make(2, ("adamw",))
    change(other)
    for made in (one, other):
        made["groups"] = [made["groups"][0] | {"tasks": [t["name"] for t in made["tasks"]]}]
    with pytest.raises(ValueError, match=message):
        compare_reports(report_from_json(one), report_from_json(other))


def test_the_made_up_report_knows_every_baseline():
    assert set(make(1)["optimizers"]) == {"learned", *LABELS}
