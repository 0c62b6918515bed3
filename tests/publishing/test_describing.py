"""What a version is called."""

from towers.publishing.describing import version_of


def test_versions_of_one_day_sort_in_the_order_in_which_they_were_made(store, tmp_path):
    (tmp_path / "20260210-ff1f1b8e9a").mkdir()  # as versions were called before
    names = []
    for fingerprint in ("ff" * 8, "11" * 8, "aa" * 8):
        names.append(version_of(store, fingerprint, tmp_path))
        (tmp_path / names[-1]).mkdir()
    assert names == sorted(names)
    assert [name.split("-")[1:] for name in names] == [["001", "ff" * 5], ["002", "11" * 5], ["003", "aa" * 5]]
    (tmp_path / names[0]).rmdir()
    assert version_of(store, "bb" * 8, tmp_path).split("-")[1] == "004"
