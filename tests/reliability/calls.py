"""Calls of Python that ask for what cannot be: functions of `zoo` x odd values in the place of what they take."""

import functools
import pathlib

import numpy as np

import zoo
from tests.reliability.judging import call

ODD = {
    "None": None,
    "3": 3,
    "2.5": 2.5,
    "nan": float("nan"),
    "b'lenet'": b"lenet",
    "''": "",
    "'a\\0b'": "a\0b",
    "'x' * 5000": "x" * 5000,
    "'\\udcff'": "\udcff",
    "[]": [],
    "{}": {},
    "object()": object(),
    "int": int,
    "np.zeros(3)": np.zeros(3),
    "pathlib.Path('nowhere')": pathlib.Path("nowhere"),
}
"""{how it is written: a value that is no recipe, no run, no study, no field's and no data}."""


def calls(theirs, run):
    """Returns [(text, function without arguments)]; `theirs` is a folder of somebody else, `run` a run that is done."""
    there = {"directory": theirs, "quiet": True}
    takers = {
        "recipe({})": (zoo.recipe, ()),
        "recipe('lenet', epochs={})": (lambda one: zoo.recipe("lenet", epochs=one), ("3",)),
        "recipe('lenet', dropout={})": (lambda one: zoo.recipe("lenet", dropout=one), ()),
        "build({})": (zoo.build, ()),
        "build('lenet', dataset={})": (lambda one: zoo.build("lenet", dataset=one), ()),
        "dataset('lenet', {})": (lambda one: zoo.dataset("lenet", one), ()),
        "train({})": (lambda one: zoo.train(one, **there), ()),
        "train('lenet', until={})": (lambda one: zoo.train("lenet", until=one, **there), ("None", "3")),
        "train('lenet', dataset={})": (lambda one: zoo.train("lenet", dataset=one, **there), ()),
        "train(resume={})": (lambda one: zoo.train(resume=one, quiet=True), ()),
        "load({})": (zoo.load, ()),
        "evaluate({})": (zoo.evaluate, ()),
        "evaluate(run, {})": (lambda one: zoo.evaluate(run, one), ()),
        "predict({}, 'x.png')": (lambda one: zoo.predict(one, "x.png"), ()),
        "predict(run, {})": (lambda one: zoo.predict(run, one), ()),
        "export({}, 'there')": (lambda one: zoo.export(one, pathlib.Path(theirs, "there")), ()),
        "report({})": (zoo.report, ()),
        "Study.open({})": (zoo.Study.open, ()),
        "tune({})": (lambda one: zoo.tune(one, max_trials=1, **there), ()),
        "tune('lenet', space={})": (lambda one: zoo.tune("lenet", space=one, max_trials=1, **there), ("None", "{}")),
        "tune('lenet', fixed={})": (lambda one: zoo.tune("lenet", fixed=one, max_trials=1, **there), ("None", "{}")),
        "tune('lenet', max_trials={})": (lambda one: zoo.tune("lenet", max_trials=one, **there), ("None", "3")),
    }
    return [
        (f"zoo.{text.format(written)}", functools.partial(function, value))
        for text, (function, legal) in takers.items()
        for written, value in ODD.items()
        if written not in legal
    ]


def hold(faults, what, function, *folders):
    """Makes a call, which must raise an error of ours, and leave `folders` as they are."""
    faults.cases += 1
    with faults.untouched(what, *folders):
        if call(faults, what, function).status == 0:
            faults.misread.append(f"{what} was accepted")
