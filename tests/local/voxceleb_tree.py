"""Utterances of a small VoxCeleb, and their files."""

TEST = ["id10270/aaaaaaaaaaa/00001", "id10270/bbbbbbbbbbb/00001", "id10271/ccccccccccc/00001"]
DEV = ["id10001/ddddddddddd/00001", "id10001/-eeeeeeeeee/00002"]
TRAIN = ["id00012/fffffffffff/00001", "id00015/ggggggggggg/00003"]


def touch(folder, utts, ending):
    for utt in utts:
        path = folder / f"{utt}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
