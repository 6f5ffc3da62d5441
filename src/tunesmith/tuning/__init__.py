"""Search for the best recipe: `tune` says what comes after what.

budget     how long a search takes, and how that is divided
space      which keys are searched, between which values
stages     who runs which trial, and which values come next
trial      one training, up to its validation scores
running    a search as one process knows it, and how it runs trials
search     the stages in order
choice     which of the finalists is chosen, and how much of its score is luck
result     tune.json and best.yaml
workers    processes beside the first one; `joining` is what they do
"""

from tunesmith.tuning.folder import SearchFolder, in_own_folder
from tunesmith.tuning.opening import Options
from tunesmith.tuning.tune import tune

__all__ = ["Options", "SearchFolder", "in_own_folder", "tune"]
