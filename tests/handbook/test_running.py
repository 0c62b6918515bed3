"""A page is read and run as its comments say, and a failure names page, line and command."""

from pathlib import Path

import pytest

from tests.handbook.composing import complaint, lines_of_towers
from tests.handbook.pages import commands, parse
from tests.handbook.running import PageFailed, Reader
from tests.handbook.splitting import of_towers
from tests.handbook.test_pages import unmarked

pytestmark = pytest.mark.unhooked
TOP = "<!-- runs in: an empty folder -->\n# A page\n"


def run(text: str, folder: Path, *, slow: bool = False) -> Reader:
    reader = Reader(parse("docs/a.md", TOP + text), folder)
    reader.follow(slow=slow)
    return reader


class TestReading:
    def test_blocks_with_their_lines_titles_and_remarks(self) -> None:
        page = parse(
            "docs/a.md",
            "<!-- runs in: demo -->\n<!-- run with: train trainer.max_epochs=1 -->\n<!-- slow: trains -->\n# A\n"
            '```python title="mine.py"\nx = 1\n```\n'
            "- in a list\n\n  <!-- not run here: needs a cluster -->\n  ```bash\n  srun\n  ```\n",
        )
        first, second = page.blocks
        assert (page.world, page.is_slow, page.settings) == ("demo", True, {"train": ["trainer.max_epochs=1"]})
        assert (first.line, first.language, first.title, first.text) == (6, "python", "mine.py", "x = 1\n")
        assert (second.line, second.text, second.remarks) == (12, "srun\n", {"not run here": "needs a cluster"})
        assert not second.is_run

    @pytest.mark.parametrize("text", ["```bash\nls\n", "<!-- exit code: 2 -->\nand more\n"])
    def test_what_cannot_be_meant(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"docs/a\.md"):
            parse("docs/a.md", text)

    def test_commands_of_several_lines(self) -> None:
        text = "# all\na \\\n  b  # c\n\nfor x in 1 2; do\n  echo $x\ndone\ncat > f <<'END'\nd\nEND\necho 'e\nf'\n"
        (block,) = parse("docs/a.md", f"```bash\n{text}```\n").blocks
        assert [(each.line, each.text.count("\n") + 1) for each in commands(block)] == [(3, 2), (6, 3), (9, 3), (12, 2)]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("towers train  # two", [["towers", "train"]]),
            ("A=b towers train x='{a: [b]}'", [["A=b", "towers", "train", "x={a: [b]}"]]),
            ("towers train && towers export", [["towers", "train"], ["towers", "export"]]),
            ("towers train \\\n  seed=1", [["towers", "train", "seed=1"]]),
            ("towers recommend history=[a,b]", [["towers", "recommend", "history=[a,b]"]]),
            ("towers train 'name=${seed}'", [["towers", "train", "name=${seed}"]]),
            ("towers train name=$A", None),
            ("towers train > out", None),
            ("ls && towers train", None),
        ],
    )  # fmt: skip
    def test_what_needs_no_shell(self, line: str, expected: list[list[str]] | None) -> None:
        assert of_towers(line) == expected

    def test_a_block_that_is_neither_run_nor_marked(self) -> None:
        block = "```bash\nls\n```\n"
        text = f"{block}<!-- not run here: why -->\n{block}<!-- run by: tests/none.py -->\n{block}"
        assert unmarked(parse("docs/a.md", text)) == [2, 10]
        assert unmarked(parse("docs/a.md", TOP + text)) == [12]


class TestRunning:
    def test_files_variables_folders_and_names_last_to_the_next_block(self, tmp_path: Path) -> None:
        run(
            '```text title="sub/a.txt"\nhello\n```\n'
            "```bash\nexport GREETING=good\ncd sub\n```\n"
            '```bash\ntest "$GREETING $(cat a.txt)" = "good hello"\n```\n'
            "```python\nimport os\nfrom pathlib import Path\n\n"
            "found = Path('a.txt').read_text() + os.environ['GREETING']\n```\n"
            "```python\nassert found == 'hello\\ngood'\n```\n",
            tmp_path,
        )

    def test_modules_of_one_page_are_not_those_of_another(self, tmp_path: Path) -> None:
        for value in ("1", "2"):
            text = f'```python title="own_part.py"\nx = {value}\n```\n```bash\nexport PYTHONPATH=.\n```\n'
            folder = tmp_path / value
            folder.mkdir()
            run(f"{text}```python\nimport own_part\n\nassert own_part.x == {value}\n```\n", folder)

    def test_towers_runs_here_with_the_pages_sizes(self, tmp_path: Path) -> None:
        run("<!-- exit code: 2 -->\n```bash\ntowers trane\n```\n", tmp_path)
        with pytest.raises(
            PageFailed, match=r"(?s)docs/a\.md:6: towers train\nended with exit code 2.*objective=nothing"
        ):
            run("<!-- run with: train objective=nothing -->\n\n```bash\ntowers train\n```\n", tmp_path)

    def test_slow_blocks_wait_for_the_slow_tests(self, tmp_path: Path) -> None:
        text = "<!-- slow: takes an hour -->\n```bash\nfalse\n```\n"
        run(text, tmp_path)
        with pytest.raises(PageFailed):
            run(text, tmp_path, slow=True)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("```bash\ntrue\nls nowhere\n```\n", r"(?s)docs/a\.md:5: ls nowhere\nended with .*No such file"),
            ("```python\nx = 1\n\nassert x == 2\n```\n", r"docs/a\.md:6: assert x == 2\nAssertionError"),
            ("```python\nx = (\n```\n", r"docs/a\.md:4: x = \(\nSyntaxError"),
        ],
    )
    def test_a_failure_names_page_line_and_command(self, text: str, told: str, tmp_path: Path) -> None:
        with pytest.raises(PageFailed, match=f"^{told}" if not told.startswith("(?s)") else told):
            run(text, tmp_path)

    def test_what_is_left_running_ends_with_the_page(self, tmp_path: Path) -> None:
        reader = run("```bash\nsleep 600 &\n```\n", tmp_path)
        (left,) = reader.left_running
        assert not Path(f"/proc/{left.pid}").exists()


class TestComposing:
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("towers trane", "no such command"),
            ("A=b torchrun --nnodes 2 -m towers train trainer.epochs=3", "trainer.max_epochs"),
            ("towers train objective=nothing", "objective"),
            ("ls && towers home action=dance", "action=dance"),
            ("towers train -m seed=1,2 optimizer.lrr=0.1,0.2", "optimizer.lr"),
            ("towers train --confg-dir x", "--confg-dir"),
        ],
    )
    def test_what_does_not_compose_is_named(self, line: str, told: str, tmp_path: Path) -> None:
        page = parse("docs/a.md", f"<!-- not run here: wrong -->\n```bash\n{line}\n```\n")
        (found,) = lines_of_towers(page)
        said = complaint(page, found, tmp_path)
        assert said is not None
        assert said.startswith("docs/a.md:3: towers ")
        assert told in said.partition(" towers ")[2].partition(": ")[2]

    def test_a_file_of_the_page_can_be_chosen(self, tmp_path: Path) -> None:
        text = '```yaml title="own/optimizer/fast.yaml"\n_target_: own.Fast\nlr: 1\n```\n'
        page = parse("docs/a.md", f"{text}```bash\ntowers train --config-dir own optimizer=fast optimizer.lr=2\n```\n")
        (found,) = lines_of_towers(page)
        assert complaint(page, found, tmp_path) is None
