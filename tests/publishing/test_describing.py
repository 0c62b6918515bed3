"""The name of a version, and the lines about its space."""

from towers.publishing.describing import space_told, version_of


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


def test_consumers_are_told_of_another_space_with_the_reason():
    before = {"space_id": "a", "dim": 64}
    drifted = {"earlier": {"version": "v1", "space_id": "a"}, "reason": "old listeners find too little"}
    after = {"space_id": "b", "dim": 64, "space": drifted}
    told = "to another space (a -> b, for old listeners find too little): earlier vectors do not fit"
    assert space_told(before, after) == told
    assert space_told(after, before) == "to another space (b -> a): earlier vectors do not fit"
    assert space_told(before, before | {"dim": 16}) == "from 64 to 16 dimensions"
    assert space_told(before, before | {"space": drifted}) is None
