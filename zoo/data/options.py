"""Options of a set that is made, such as `dates:train=5000`, as TensorFlow Datasets wants to have them."""

import dataclasses
import typing
from collections.abc import Mapping

import tensorflow_datasets as tfds

from zoo import fields


@dataclasses.dataclass
class OptionsConfig(tfds.core.BuilderConfig):
    """Values of options; its name, which is the folder's, tells those that are not as by default."""

    options: fields.Declared | None = None


class OptionsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder with options, a subclass of `fields.Declared`."""

    Options: typing.ClassVar[type[fields.Declared]]

    @classmethod
    def configure(cls, pairs: Mapping[str, str]) -> OptionsConfig | None:
        """The configuration of {option: text}; None where all is as by default."""
        options = cls.Options(**{name: cls.Options.field(name).parse(name, text) for name, text in pairs.items()})
        changed = [
            f"{name}={fields.show(value)}"
            for name, value in options.values().items()
            if value != cls.Options.field(name).default
        ]
        return OptionsConfig(name=",".join(changed), options=options) if changed else None

    @property
    def options(self) -> typing.Any:
        """The values of the options, an instance of `Options`."""
        return self.Options() if self.builder_config is None else self.builder_config.options
