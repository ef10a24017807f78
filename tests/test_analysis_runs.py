"""What is read is what was recorded; and the command line around it."""

import csv
import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from analysis import runs
from search import record
from search.record import Outcome
from tests.conftest import command
