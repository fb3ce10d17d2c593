"""The demo behind `make demo`: the main job, from nothing to an answer, on an emulated AWS."""
