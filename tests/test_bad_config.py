"""Configurations that make no sense are refused in one sentence; odd ones that do are taken."""

import dataclasses
import math

import jax
import pytest

from learned_opt.devices import _memory as devices
from learned_opt.meta_train import Config, ConfigError, build, load_config
from learned_opt.meta_train.__main__ import main

LOADED = [
    # Names are one path component of ordinary characters.
    ('run.name="../evil"', 'run.name must be 1 to 100 letters, digits, ".", "_" and "-"'),
    ('run.name="/etc/evil"', "got '/etc/evil'"),
    ('run.name="a/b"', "got 'a/b'"),
    ('run.name=""', "got ''"),
    ('run.name="."', "got '.'"),
    ('run.name=".."', "got '..'"),
    ('run.name=".hidden"', "got '.hidden'"),
    ('run.name="-rf"', "got '-rf'"),
    ('run.name="a b"', "got 'a b'"),
    ('run.name="a\\nb"', "got 'a\\nb'"),
    ('run.name="ab\\n"', "got 'ab\\n'"),
    ('run.name="a\\u0000b"', "run.name must be text without control characters, got '\\x00'"),
    ('run.name="a\\u001b[31m"', "run.name must be text without control characters"),
    (f'run.name="{"a" * 101}"', f"got '{'a' * 59}...{'a' * 16}'"),
    (f'run.name="{"a" * 300}"', f"got '{'a' * 59}...{'a' * 16}'"),
    ('run.name="né"', "got 'né'"),
    ('run.name="a\\\\b"', "run.name must be 1 to 100 letters"),
    ("run.name=3", "run.name must be of type str, got 3"),
    ('run.name=["a"]', "run.name must be of type str, got ['a']"),
    # [run]
    ("run.outer_steps=0", "run.outer_steps must be from 1 to 1,000,000,000, got 0"),
    ("run.outer_steps=-20", "run.outer_steps must be from 1 to 1,000,000,000, got -20"),
    ("run.outer_steps=2e2", "run.outer_steps must be of type int, got 200.0"),
    ("run.outer_steps=true", "run.outer_steps must be of type int, got True"),
    ("run.outer_steps=1000000000000", "run.outer_steps must be from 1 to 1,000,000,000"),
    (f"run.outer_steps=0x1{'0' * 5000}", "got a value of type int"),
    (f"run.outer_steps={'9' * 5000}", "run.outer_steps is not valid TOML: Exceeds the limit"),
    ("run.log_every=0", "run.log_every must be from 1 to 1,000,000,000, got 0"),
    ("run.chunk=-1", "run.log_every must be from 1 to 1,000,000,000, got -1"),
    ("run.log_every=7", "run.outer_steps must be a multiple of run.log_every (7), got 200"),
    ("run.seed=-1", "run.seed must be from 0 to 4,294,967,295, got -1"),
    ("run.seed=4294967296", "run.seed must be from 0 to 4,294,967,295, got 4294967296"),
    ("run.seed=1.0", "run.seed must be of type int, got 1.0"),
    ("run.seed=2026-01-01", "run.seed must be of type int, got datetime.date(2026, 1, 1)"),
    ("run.tolerance=nan", "run.tolerance must be a finite number, got nan"),
    ("run.tolerance=inf", "run.tolerance must be a finite number, got inf"),
    ("run.tolerance=1e300", "run.tolerance must be from 1e-09 to 1e+09, got 1e+300"),
    ("run.tolerance=-1.0", "run.tolerance must be from 1e-09 to 1e+09, got -1.0"),
    ("run.tolerance=0", "run.tolerance must be from 1e-09 to 1e+09, got 0.0"),
    (f'run.start="{"a" * 5000}"', "run.start must have 0 to 1,000 characters, got 5,000"),
    ('run.start="a\\u0000.safetensors"', "run.start must be text without control characters"),
    (f'run.note="{"a" * 10_001}"', "run.note must have 0 to 10,000 characters, got 10,001"),
    ("run.note=\udcff", "run.note must be text without control characters, got '\\udcff'"),
    ("run.note=false", "run.note must be of type str, got False"),
    # [family]
    ("family.batch_size=0", "family.batch_size must be from 1 to 1,000,000, got 0"),
    ("family.batch_size=10000000", "family.batch_size must be from 1 to 1,000,000, got 10000000"),
    ("family.batch_size=true", "family.batch_size must be of type int, got True"),
    ("family.weight=nan", "family.weight must be a finite number, got nan"),
    ("family.weight=inf", "family.weight must be a finite number, got inf"),
    ("family.weight=0", "family.weight must be from 1e-09 to 1e+09, got 0.0"),
    ("family.weight=1e6", "estimator, times the weight of family: pairs must be from 1 to"),
    ("family.problem=5", "family.problem must be of type str, got 5"),
    ('family.problem=""', "family.problem must be one of quadratic, rosenbrock, saddle"),
    ("family.data=[]", "family.data must be of type str, got []"),
    (f'family.data="{"digits+" * 200}"', "family.data must have 0 to 1,000 characters, got 1,400"),
    ("family.options=[1]", "family.options must be a section, got [1]"),
    ("family.options.width=4", "unknown key family.options.width; did you mean"),
    ("family.options.max_width=0", "family.options.max_width must be from 1 to 1,000,000, got 0"),
    ("family.options.max_width=1.5", "family.options.max_width must be of type int, got 1.5"),
    ("family.options.max_depth=1000000", "family.options.max_depth must be from 1 to 1,000, got"),
    ("family.options.gains=[nan, 1.0]", "family.options.gains must be [low, high] with 1e-12 <= "),
    ("family.options.gains=[1.0, inf]", "low <= high <= 1e+12, got [1.0, inf]"),
    ("family.options.gains=[0, 1]", "got [0.0, 1.0]"),
    ("family.options.gains=[2, 1]", "family.options.gains must be [low, high] with 1e-12 <= low"),
    ("family.options.gains=[1]", "family.options.gains must be a list of 2 numbers, got [1]"),
    ("family.options.gains=[true, 1]", "family.options.gains must be of type float, got True"),
    ("family.options.widths=[0.5, 8]", "family.options.widths must be [low, high] with 1 <= low"),
    ("family.options.widths=[8, 64]", "with 1 <= low <= high <= 32, got [8.0, 64.0]"),
    ("family.options.depths=[0, 2]", "family.options.depths must be [low, high] with 1 <= low <="),
    ("family.options.depths=[1, 9]", "with 1 <= low <= high <= 2, got [1, 9]"),
    ("family.options.depths=[1.0, 2]", "family.options.depths must be of type int, got 1.0"),
    ('family={problem="conv", options={channels=[]}}', "channels must have 1 to 1,000 entries"),
    ('family={problem="conv", options={channels=[8, 0]}}', "channels[1] must be from 1 to 100,000"),
    ('family={problem="resnet", options={channels=[true]}}', "channels must be of type int, got T"),
    ('family={problem="vit", options={heads=3}}', "size must be a multiple of heads (3), got 16"),
    ('family={problem="vit", options={heads=0}}', "family.options.heads must be from 1 to"),
    ('family={problem="vit", options={patch=-2}}', "family.options.patch must be from 1 to"),
    ('family={problem="contrastive", options={temperature=0}}', "options.temperature must be from"),
    ('family={problem="contrastive", options={erased=1.0}}', "options.erased must be from 0 to"),
    ('family={problem="contrastive", options={candidates=1}}', "options.candidates must be from 2"),
    ('family={problem="control", options={sigma=0.0}}', "options.sigma must be from 1e-09"),
    ('family={problem="quadratic", options={dimension=0}}', "options.dimension must be from 1 to"),
    # [family.augment]
    ("family.augment=5", "family.augment must be a section, got 5"),
    ("family.augment.reparametrise=5", "family.augment.reparametrise must be a section, got 5"),
    ("family.augment.reparametrise=[]", "family.augment.reparametrise must be a section, got []"),
    ("family.augment.noise=5", "family.augment must be one of reparametrise, loss_scale"),
    ("family.augment.reparametrise.scales=1", "scales must be a list of 2 numbers, got 1"),
    ("family.augment.reparametrise.per=1", "per must be one of 'task', 'tensor', 'element', got 1"),
    ("family.augment.loss_scale.scales=[1e-3, 1e40]", "augment.loss_scale.scales must be [low, hi"),
    ("family.augment.label_noise.shares=[0.1, 2]", "with 1e-09 <= low <= high <= 1, got [0.1"),
    ("family.augment.few_examples.batches=[0.1, 2]", "few_examples.batches must be [low, high]"),
    ("family.augment.few_directions.directions=[0, 2]", "few_directions.directions must be [low"),
    ("family.augment.delayed_gradients.most=-1", "delayed_gradients.most must be from 0 to 1,000"),
    ("family.augment.small_batch.halvings=60", "small_batch.halvings must be from 0 to 20, got 60"),
    ("family.augment.small_batch.halvings=7", "family: small_batch.halvings=7 needs a batch size"),
    # [[families]] and suite
    ("suite=3", "--set expects section.key=value or section={key=value, ...}, got 'suite=3'"),
    # [estimator]
    ("estimator.pairs=0", "estimator.pairs must be from 1 to 1,000,000, got 0"),
    ("estimator.pairs=-4", "estimator.pairs must be from 1 to 1,000,000, got -4"),
    ("estimator.sigma=nan", "estimator.sigma must be a finite number, got nan"),
    ("estimator.sigma=inf", "estimator.sigma must be a finite number, got inf"),
    ("estimator.sigma=1e300", "estimator.sigma must be from 1e-06 to 1000, got 1e+300"),
    ("estimator.sigma=1e-30", "estimator.sigma must be from 1e-06 to 1000, got 1e-30"),
    ("estimator.sigma=-0.1", "estimator.sigma must be from 1e-06 to 1000, got -0.1"),
    ("estimator.clip=-1", "estimator.clip must be from 0 to 1e+09, got -1.0"),
    ("estimator.clip=nan", "estimator.clip must be a finite number, got nan"),
    ("estimator.sign=1", "estimator.scale must be one of 'family', 'sign', 'none', got 1"),
    ('estimator={name="blend", scale="sign"}', "scale must be 'family' or 'none', got 'sign'"),
    ('estimator={name="blend", exact=99}', "exact must be at least the shortest horizon (100)"),
    ("estimator.horizon=[0, 9]", "estimator.horizon must be [low, high] with 1 <= low <= high"),
    ("estimator.horizon=[9, 5]", "with 1 <= low <= high <= 100,000,000, got [9, 5]"),
    ("estimator.horizon=[1, 1000000000]", "got [1, 1000000000]"),
    ("estimator.horizon=[1.0, 5]", "estimator.horizon must be of type int, got 1.0"),
    ("estimator.horizon=[1, 2, 3]", "estimator.horizon must be a list of 2 numbers, got [1, 2, 3]"),
    ("estimator.curriculum=-1", "estimator.curriculum must be from 0 to 1,000,000,000, got -1"),
    ("estimator.shortest=0", "estimator.shortest must be from 1e-06 to 1, got 0.0"),
    ("estimator.shortest=1.5", "estimator.shortest must be from 1e-06 to 1, got 1.5"),
    ('estimator={name="pes", truncation=0}', "estimator.truncation must be from 1 to"),
    ('estimator={name="pes", truncation=301}', "truncation must be at most the longest horizon (3"),
    ('estimator={name="tbptt", truncation=301}', "truncation must be at most the longest horizon"),
    ('estimator={name="nres", period=-1}', "estimator.period must be from 0 to 1,000,000,000"),
    ('estimator={name="pes", resume={share=2}}', "estimator.resume.share must be from 0 to 1"),
    ('estimator={name="pes", resume={slots=0}}', "estimator.resume.slots must be from 1 to 10,000"),
    ('estimator={name="pes", resume=1}', "estimator.resume must be a section, got 1"),
    ('estimator={name="backprop", tasks=0}', "estimator.tasks must be from 1 to 1,000,000, got 0"),
    ('estimator={name=["pes"]}', "estimator.name must be one of full_es, truncated_es"),
    ('estimator={name={}}', "estimator.name must be one of full_es, truncated_es"),
    # [objective]
    ("objective.valid=nan", "objective.valid must be a finite number, got nan"),
    ("objective.mean=inf", "objective.mean must be a finite number, got inf"),
    ("objective.steps=1e300", "objective.steps must be from 0 to 1e+09, got 1e+300"),
    ("objective.last=-0.5", "objective.last must be from 0 to 1e+09, got -0.5"),
    ("objective={valid=0, mean=0}", "objective.valid, last, mean or steps must be at least 1e-06"),
    ("objective.log=1", "objective.log must be of type bool, got 1"),
    # [teacher]
    ("teacher.learning_rate=nan", "teacher.learning_rate must be a finite number, got nan"),
    ("teacher.learning_rate=-1", "teacher.learning_rate must be from 1e-12 to 1000, got -1.0"),
    ("teacher.share=0", "teacher.share must be from 1e-06 to 1, got 0.0"),
    ("teacher.outer_steps=0", "teacher.outer_steps must be from 1 to 1,000,000,000, got 0"),
    ('teacher.name="sgd"', "teacher.name must be one of 'none', 'adamw', 'muon', got 'sgd'"),
    # [outer]
    ("outer.learning_rate=nan", "outer.learning_rate must be a finite number, got nan"),
    ("outer.learning_rate=inf", "outer.learning_rate must be a finite number, got inf"),
    ("outer.learning_rate=1e300", "outer.learning_rate must be from 1e-12 to 1000, got 1e+300"),
    ("outer.learning_rate=-0.1", "outer.learning_rate must be from 1e-12 to 1000, got -0.1"),
    ("outer.learning_rate=0", "outer.learning_rate must be from 1e-12 to 1000, got 0.0"),
    ("outer.warmup=-5", "outer.warmup must be from 0 to 1,000,000,000, got -5"),
    ("outer.warmup=0.1", "outer.warmup must be of type int, got 0.1"),
    ("outer.final=2", "outer.final must be from 0 to 1, got 2.0"),
    ("outer.b1=1.0", "outer.b1 must be from 0 to 0.999999, got 1.0"),
    ("outer.clip=nan", "outer.clip must be a finite number, got nan"),
    ("outer.clip=-0.3", "outer.clip must be from 0 to 1e+09, got -0.3"),
    ('outer={optimizer="adamw", weight_decay=-1}', "outer.weight_decay must be from 0 to 100, got"),
    ('outer={optimizer="adamw", weight_decay=inf}', "outer.weight_decay must be a finite number"),
    ("outer.schedule=3", "outer.schedule must be one of 'cosine', 'linear', 'constant', got 3"),
    # [valid], [save]
    ("valid.tasks=0", "valid.tasks must be from 1 to 1,000,000, got 0"),
    ("valid.horizon=0", "valid.horizon must be from 1 to 100,000,000, got 0"),
    ("valid.every=0", "valid.every must be from 1 to 1,000,000,000, got 0"),
    ('valid.suite="quickstart+"', "valid.suite must be one of quickstart"),
    ("save.seconds=nan", "save.seconds must be a finite number, got nan"),
    ("save.seconds=inf", "save.seconds must be a finite number, got inf"),
    ("save.seconds=1e300", "save.seconds must be from 0 to 1e+09, got 1e+300"),
    ("save.keep=0", "save.keep must be from 1 to 1,000,000, got 0"),
    ("save.best=-1", "save.best must be from 1 to 1,000,000, got -1"),
    # [optimizer]
    ("optimizer.name=5", "optimizer.name must be one of gated_adam, spectral, spectral_gru"),
    ("optimizer.hidden=true", "optimizer.hidden must be of type int, got True"),
    ('optimizer={name="celo2", hidden=-1}', "optimizer.hidden must be"),
    ('optimizer={name="celo2", momenta="float64"}', "optimizer.momenta must be"),
    ('optimizer={name="celo2", momenta=""}', "optimizer.momenta must be"),
    # Shapes of the table itself
    ("run.seed.x.y=3", "run.seed must be of type int, got {'x': {'y': 3}}"),
    (".=3", "unknown section ''"),
    ("a\nb.c=3", "unknown section 'a\\nb'"),
    (f"{'a.' * 5000}b=1", "unknown section a; did you mean"),
    (f"run.note={'[' * 5000}", "run.note is not valid TOML: it is nested too deeply"),
    (f"family.options.gains={'[' * 300}{']' * 300}", "gains must be a list of 2 numbers, got [[["),
    (f"family.options.gains.{'a.' * 5000}b=1", "gains must be a list of 2 numbers, got a value"),
]  # fmt: skip
"""Overrides of the default configuration, refused as it is read."""

EVOSAX = b"[estimator]\nname = 'evosax'\n"
FILES = [
    (b"\xff\xfe[run]", "is not valid TOML: it must be UTF-8, byte 0 is not"),
    ('[run]\nnote = "né"'.encode("latin-1"), "it must be UTF-8, byte 15 is not"),
    (b"[run]\nname = \"a\x00b\"", "is not valid TOML: Illegal character"),
    (b"x = " + b"[" * 100_000, "is not valid TOML: it is nested too deeply"),
    (b"[run]\nseed = " + b"9" * 5000, "is not valid TOML: Exceeds the limit"),
    (b"[run]\nseed = -0b0", "is not valid TOML"),
    (b"[run]\nseed = 1\nseed = 2", "is not valid TOML: Cannot overwrite a value"),
    (b"[run", "is not valid TOML"),
    (b"families = []", "families must not be empty: say what to learn from, or leave it out"),
    (b"families = [3]", "families[0] must be a section, got 3"),
    (b"[[families]]\nweight = -1.0", "families[0].weight must be from 1e-09 to 1e+09, got -1.0"),
    (b"[[families]]\n[[families]]\n[families.options]\nmax_width = 0", "families[1].options.max_w"),
    (b"[[families]]\n[families.augment]\nreparametrise = 5", "families[0].augment.reparametrise"),
    (b"[[families]]\nweight = 1e6", "estimator, times the weight of families[0]: pairs must be"),
    (b"family = 5", "family must be a section, got 5"),
    (b"suite = []", "suite must be of type str, got []"),
    (b"suite = \"\\u0000\"", "suite must be text without control characters"),
    (b"[run.name]\nx = 1", "run.name must be of type str, got {'x': 1}"),
    (b"\"a b\".c = 1", "unknown section 'a b'; did you mean"),
    (EVOSAX + b"population = 33", "estimator.population must suit Open_ES, got"),
    (EVOSAX + b"population = 7\nstrategy = 'PGPE'", "even); try 8"),
    (EVOSAX + b"population = 3\nstrategy = 'DifferentialEvolution'", "try 4"),
    (EVOSAX + b"population = 0", "estimator.population must be from 1 to"),
    (EVOSAX + b"strategy = 'X\t'", "estimator.strategy must be an algorit"),
    (EVOSAX + b"learning_rate = inf", "estimator.learning_rate must be a fin"),
]  # fmt: skip
"""Whole files."""

BUILT = [
    ("optimizer.hidden=16384", "[optimizer]: theta would take at least 4.3 GB of memory, this mac"),
    ("optimizer.hidden=1000000000", "optimizer"),
    ("estimator.pairs=1000000", "[estimator]: the runs of an outer step would take at least"),
    ("family.options={max_width=1000000}", "[estimator]: the runs of an outer step would take"),
    ("valid.tasks=1000000", "[valid]: its runs would take at least"),
    (
        'estimator={name="pes", pairs=10000, resume={share=0.1, slots=10000}}',
        "the state of meta-training would take at least",
    ),
    ("family.data=imagenet", "family.data: data set must be one of breast_cancer"),
    ('family.data=""', "family.data: data set must be one of breast_cancer"),
    ("family.data=digits/8", "family.data: the data set 'digits' has one size, got 'digits/8'"),
    ("family.data=letters/1000000", "the size after / must be an integer from 1 to 128, got"),
    (f"family.data=points/{'9' * 900}", "the size after / must be an integer from 1 to 1,000,000"),
    ("family.data=stdlib/0", "the size after / must be an integer from 1 to 100,000,000, got"),
    ("family.data=stdlib", "family.data: the problem 'mlp' needs data of kind label or value"),
    ('family={problem="vit", options={patch=9}}', "needs a patch that fits into the images of 'd"),
    ('family={problem="quadratic", data="points/3"}', "'quadratic' has dimension 20, got data of"),
]  # fmt: skip
"""Overrides, refused before anything is allocated."""

COMMANDS = [
    ([], "a configuration is needed, or --resume to continue a run"),
    (["--last"], "--last says which theta --export writes: add --export, or leave it out"),
    (["c.toml", "--accept-new-code"], "--accept-new-code says how to continue a run: add --resume"),
    (["c.toml", "--out", ""], "--out must name a folder in printable text, got ''"),
    (["c.toml", "--out", "a\udcff"], "--out must name a folder in printable text, got 'a\\udcff'"),
    (["c.toml", "--out", "a\nb"], "--out must name a folder in printable text, got 'a\\nb'"),
    ([""], "CONFIG must name a file in printable text, got ''"),
    (["c.toml", "--export"], "--export reads the run in --out and trains nothing, got CONFIG too"),
    (["--export", "--resume"], "trains nothing, got --resume too: leave one out"),
    (["--export", "--set", "run.seed=1"], "trains nothing, got --set too: leave one out"),
    (["--export", "--distributed"], "trains nothing, got --distributed too: leave one out"),
    (["c.toml", "--process", "0"], "--process says which of several, got 0: say how many"),
    (["c.toml", "--processes", "2"], "several processes need --coordinator HOST:PORT, --processes"),
    (["c.toml", "--processes", "0"], "--processes must be from 1 to 1,000,000, got 0"),
    (["c.toml", "--processes", "2", "--process", "2"], "--process must be from 0 to 1, got 2"),
    (["c.toml", "--processes", "2", "--process", "-1"], "--process must be from 0 to 1, got -1"),
    (["c.toml", "--processes", "2", "--process", "1"], "several processes need --coordinator"),
    (["c.toml", "--coordinator", "here:1"], "several processes need --coordinator HOST:PORT"),
    (["c.toml", "--coordinator", "here"], "--coordinator must be HOST:PORT, got 'here'"),
    (["c.toml", "--coordinator", "here:0"], "the port of --coordinator must be from 1 to 65535"),
    (["c.toml", "--coordinator", "h:65536"], "the port of --coordinator must be from 1 to 65535"),
    (["nowhere.toml"], "cannot read the configuration nowhere.toml: No such file or directory"),
    (["."], "cannot read the configuration .: Is a directory"),
    (["a" * 5000], "there is no configuration "),
]  # fmt: skip

GOOD = [
    'run.name="a"',
    'run.name="7.5-of_9"',
    f'run.name="{"a" * 100}"',
    "run={outer_steps=1, log_every=1}",
    "run.outer_steps=1000000000",
    "run.seed=4294967295",
    'run.note="two lines\\nof prose, né, 学"',
    "run.tolerance=1000",
    "save.seconds=0",
    "valid.every=1000",
    "valid={tasks=1, horizon=1}",
    "estimator.pairs=1",
    "estimator.horizon=[1, 1]",
    "estimator={name=\"pes\", truncation=300}",
    "estimator={name=\"nres\", period=0}",
    "estimator={name=\"evosax\", population=33, strategy=\"SNES\"}",
    "estimator={name=\"evosax\", population=2}",
    "estimator.sign=true",
    'estimator.scale="family"',
    'estimator={name="blend", exact=100}',
    "family.options={widths=[1, 1], max_width=1, depths=[1, 1], max_depth=1}",
    "family.options.gains=[1, 1]",
    "family.augment.bfloat16={}",
    "family.augment.delayed_gradients.most=0",
    "family.batch_size=1",
    "family.weight=0.001",
    "objective={valid=0, mean=0, steps=1}",
    "outer={optimizer=\"sgd\", b1=0, clip=0}",
    "outer.warmup=1000",
    "teacher={name=\"muon\", share=1}",
    "run.start=quickstart",
]  # fmt: skip


def check(error, message):
    assert message in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 700


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "empty.toml"
    path.write_text("")
    return path


def ids(rows):
    return [row[0][:50].encode("ascii", "replace").decode().replace("\0", "?") for row in rows]


@pytest.mark.parametrize(("override", "message"), LOADED, ids=ids(LOADED))
def test_overrides(empty, override, message):
    with pytest.raises(ConfigError) as error:
        load_config(empty, [override])
    check(error.value, message)


@pytest.mark.parametrize(("content", "message"), FILES, ids=range(len(FILES)))
def test_files(tmp_path, content, message):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "c.toml")
    check(error.value, message)


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """The file that says how much a container may use; 1 GB."""
    monkeypatch.setattr(devices, "CGROUP", tmp_path / "memory.max")
    devices.CGROUP.write_text("1000000000\n")
    return devices.CGROUP


@pytest.mark.parametrize(("override", "message"), BUILT, ids=ids(BUILT))
def test_built(memory, empty, override, message):
    with pytest.raises(ConfigError) as error:
        build(load_config(empty, [override]))
    check(error.value, message)


@pytest.mark.parametrize(("args", "message"), COMMANDS, ids=range(len(COMMANDS)))
def test_commands(capsys, args, message):
    assert main(args) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("override", GOOD, ids=range(len(GOOD)))
def test_odd_but_good(empty, override):
    config = load_config(empty, [override])
    assert Config.from_dict(config.to_dict()) == config


def test_a_dataclass_checks_itself_in_python_too():
    default = Config()
    for section, values in (
        ("run", {"name": "../evil"}), ("run", {"log_every": True}), ("valid", {"tasks": 2.0}),
        ("outer", {"clip": math.nan}), ("estimator", {"horizon": [1, 2]}),
        ("estimator", {"pairs": "4"}), ("save", {"seconds": None}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(values))):
            dataclasses.replace(getattr(default, section), **values)
    with pytest.raises(ValueError, match="valid must be of type ValidSettings"):
        dataclasses.replace(default, valid=default.save)


def test_a_container_has_the_memory_it_is_given(memory):
    memory.write_text("max\n")
    whole = devices.device_memory(jax.devices()[0])
    memory.unlink()
    assert devices.device_memory(jax.devices()[0]) == whole > 1e8
    memory.write_text("1000\n")
    assert devices.device_memory(jax.devices()[0]) == 1000
    with pytest.raises(ConfigError, match=r"has 1 kB"):
        build(Config())
