"""An upload is read with bounds, whatever its archive says of itself."""

from __future__ import annotations

import io
import tarfile

from test_intake import notebook, zip_of

from autograder import uploads


def test_a_bomb_is_bounded_and_costs_nobody_else_anything(tmp_path):
    bounds = uploads.Bounds(notebook=1 << 20, archive=1 << 20, entries=20)
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w:gz") as pack:
        member = tarfile.TarInfo("zeros.bin")
        member.size = 30 << 20
        pack.addfile(member, io.BytesIO(b"\0" * member.size))
    many = zip_of(tmp_path / "many.zip", {f"{n}.txt": b"" for n in range(50)}).read_bytes()
    deep = zip_of(tmp_path / "deep.zip", {"a/" * 30 + "x.ipynb": notebook()}).read_bytes()
    nested = zip_of(tmp_path / "n.zip", {"n.zip": many}).read_bytes()
    pack = zip_of(tmp_path / "class.zip", {
        "a_1_1_w.tar.gz": bomb.getvalue(), "b_2_2_w.zip": many, "c_3_3_w.zip": deep, "d_4_4_w.zip": nested,
        "e_5_5_bigrams.ipynb": b" " * (2 << 20), "f_6_6_bigrams.ipynb": notebook()})
    entries = list(uploads.read(pack, bounds))
    reasons = " ".join(entry.reason for entry in entries if isinstance(entry, uploads.Refused))
    for reason in ("unpacks to more than", "holds more than 20 entries", "folders deep", "inside a student's archive",
                   "has 2 MB, more than"):
        assert reason in reasons
    assert [e.parts[-1] for e in entries if isinstance(e, uploads.Found)] == ["f_6_6_bigrams.ipynb"]


def test_a_header_that_lies_about_its_size(tmp_path):
    pack = zip_of(tmp_path / "a.zip", {"bigrams.ipynb": b" " * 5000})
    raw = bytearray(pack.read_bytes())
    place = raw.index(b"PK\x01\x02") + 24
    raw[place:place + 4] = (100).to_bytes(4, "little")
    pack.write_bytes(raw)
    assert not [e for e in uploads.read(pack) if isinstance(e, uploads.Found) and len(e.data) > 100]
