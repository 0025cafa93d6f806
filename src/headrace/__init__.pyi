"""The public surface, for type checkers and editors. Each name is documented where it is defined."""

from headrace.data.access import Attempt as Attempt
from headrace.data.current import current as current
from headrace.data.events import Events as Events
from headrace.data.model import Model as Model
from headrace.data.model import if_better as if_better
from headrace.data.secret import Secret as Secret
from headrace.data.table import Table as Table
from headrace.data.topic import Source as Source
from headrace.data.topic import Topic as Topic
from headrace.data.window import Window as Window
from headrace.errors import HeadraceError as HeadraceError
from headrace.graph.builtin import split as split
from headrace.graph.flow import chain as chain
from headrace.graph.flow import group as group
from headrace.graph.flow import map as map  # noqa: A004
from headrace.graph.flow import when as when
from headrace.graph.limits import accuracy as accuracy
from headrace.graph.limits import auc as auc
from headrace.graph.limits import log_loss as log_loss
from headrace.graph.limits import missing as missing
from headrace.graph.limits import psi as psi
from headrace.graph.limits import unseen as unseen
from headrace.graph.limits import wasserstein as wasserstein
from headrace.graph.monitor import Monitor as Monitor
from headrace.graph.monitor import monitor as monitor
from headrace.graph.pipeline import Pipeline as Pipeline
from headrace.graph.pipeline import Run as Run
from headrace.graph.pipeline import pipeline as pipeline
from headrace.graph.stream import Stream as Stream
from headrace.graph.stream import stream as stream
from headrace.graph.task import AsyncTask as AsyncTask
from headrace.graph.task import Task as Task
from headrace.graph.task import task as task
from headrace.graph.trigger import Trigger as Trigger
from headrace.graph.trigger import event as event
from headrace.graph.trigger import updated as updated

__version__: str
