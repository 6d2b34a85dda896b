"""The models and mappings of the public data sets have no fault."""

from pathlib import Path

import pytest

from ganzhi.datasets.registry import DATASETS, Dataset, find
from schemas.errors import ConfigurationError
from schemas.model.check import check_folder
from tests.datasets import sums


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS.keys())
def test_models_have_no_fault(dataset: Dataset, tmp_path: Path) -> None:
    """`check` finds nothing in the model that is made of the data, and the mapping can be read."""
    dataset.write_model(sums.data(dataset.name), tmp_path)
    model, faults = check_folder(tmp_path)

    assert faults == []
    assert len(model.rows("sites")) == 1
    assert dataset.mapping()


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS.keys())
def test_a_folder_without_the_data_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    """A wrong --path is told before anything is published."""
    with pytest.raises(ConfigurationError, match="does not hold"):
        dataset.write_model(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_faults_of_the_data_are_told() -> None:
    """`--about` says what the publisher did and how it is taken; an unknown data set is refused with the known ones."""
    for name, words in (
        ("campus_meters", ("missing hours are written as", "rounded to 0.1", "ten times the mean")),
        ("litter_bins", ("newest row first", "80 %")),
        ("ev_charging", ("0014", "55 sessions have 0 kWh")),
    ):
        assert all(word in " ".join(find(name).about.split()) for word in words)
    with pytest.raises(ConfigurationError, match="litter_bins"):
        find("litter")
