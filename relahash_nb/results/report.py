"""`run.json`: what a run reports of itself, as a pydantic model that the file is written and read through."""

import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA: Final = 2  # of the files of a run
Share = Annotated[float, Field(ge=0, le=1)]


def clean(text: Any) -> str:
    """Text for files and tables: line breaks, control characters and lone surrogates are written as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


class Section(BaseModel):
    """A part of `run.json`; a key that it does not have, of another version, is passed over when it is read."""

    model_config = ConfigDict(frozen=True)


class Scores(Section):
    """Scores over all queries, and numbers about the codes of query and database before the sign.

    `query_accuracy` is the `centroid_accuracy` of the queries' codes; None in a run that did not record it.
    """

    mean_average_precision: Share
    best: Share
    worst: Share
    query_accuracy: Share | None = None
    precision_at_100: float
    precision_within_2: float
    recall_within_2: float
    quantization_error: float
    quantization_error_centred: float
    constant_bits: int
    distinct_codes: int


class DataFinding(Section):
    """What the checks of the data found."""

    rule: str
    level: str
    text: str


class Data(Section):
    """The data set, with the number of images in each split."""

    name: str
    multi_label: bool
    fingerprint: str
    train: int
    query: int
    database: int
    validation: int
    class_names: list[str]
    findings: list[DataFinding]


class Hardware(Section):
    """The machine; see `describe_hardware`."""

    processor: str
    cores: int | None
    threads: int
    accelerator: str | None


class Report(Section):
    """What a run reports of itself.

    `config` is kept as it was written, since a field may be gone since; `RunConfig.from_saved` reads it.
    `loss_options` are all options of the loss, defaults too. `sources` are the digests of the files that code of one's
    own came from, by its name. `metrics` are the user's own. `seconds` are by stage.
    """

    schema_number: Literal[2] = Field(alias="schema")
    run_id: str
    finished: str
    config: dict[str, Any]
    loss_options: dict[str, Any]
    weights_digest: str
    sources: dict[str, str] = {}  # an older run does not say it
    scores: Scores
    metrics: dict[str, float] = {}
    data: Data
    hardware: Hardware
    versions: dict[str, str]
    seconds: dict[str, float]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The report in the text of a `run.json`.

        Raises:
            ValueError: The text is no JSON, or a value is missing or not allowed; in one line.
        """
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            if first["type"] == "missing":
                raise ValueError(f"{place}: missing") from None
            raise ValueError(f"{place}: {first['input']!r} given; {first['msg']}") from None

    def to_json(self) -> str:
        """The text of `run.json`; a run without metrics of the user's own has no such key."""
        left_out = set() if self.metrics else {"metrics"}
        return json.dumps(self.model_dump(by_alias=True, exclude=left_out), indent=1)
