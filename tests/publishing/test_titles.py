import pytest

from towers.publishing.titles import base_and_version


@pytest.mark.parametrize(
    "title",
    [
        "Come Together",
        "COME TOGETHER!",
        "Come Together (Remastered 2009)",
        "Come Together - Remastered 2009",
        "Come Together [Deluxe Edition] (feat. Somebody)",
        "Come  together – Mono Version",
    ],
)
def test_editions_have_one_base_and_no_version(title):
    assert base_and_version(title) == ("come together", "")


@pytest.mark.parametrize(
    ("title", "version"),
    [("Song (Live)", "live"), ("Song - Live at the Forum (Remastered)", "live"), ("Song [Radio Edit]", "edit radio")],
)
def test_versions_are_told(title, version):
    assert base_and_version(title) == ("song", version)


@pytest.mark.parametrize(
    ("title", "base"),
    [
        ("Mass (Part 2)", "mass part 2"),
        ("Symphony No. 5 - II. Andante", "symphony no 5 ii andante"),
        ("(Remix)", "remix"),
        ("Live and Let Die", "live and let die"),
        ("Łódź (Édition)", "łódź édition"),
        ("夜に駆ける", "夜に駆ける"),
        ("...", ""),
    ],
)
def test_what_is_no_remark_stays(title, base):
    assert base_and_version(title) == (base, "")
