"""What a run is: frozen, validated where it is made, and identified by a hash of how it trains.

Nothing here imports torch, so the command line can describe every option at once.
"""

from grokinterp.config.model import ModelConfig
from grokinterp.config.run import RunConfig
from grokinterp.config.stop_rule import StopRule
from grokinterp.config.train import TrainConfig

__all__ = ["ModelConfig", "RunConfig", "StopRule", "TrainConfig"]
