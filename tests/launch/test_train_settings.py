"""What docs/training.md says can be bound in gin, bound in gin."""

import gin

from instrux.training.keeping import KeepBest
from instrux.training.optimizers import OptaxOptimizer
from instrux.training.profiling import ProfileSteps
from instrux.training.schedules import factors
from instrux.training.spikes import Spikes
from instrux.training.trackers import Wandb
from launch import gin_config
from launch.follow import Follow

SETTINGS = """
from __gin__ import dynamic_registration
from instrux.training import keeping
from instrux.training import optimizers
from instrux.training import profiling
from instrux.training import schedules
from instrux.training import spikes
from instrux.training import trackers
from launch import evaluate
from launch import follow
from launch import train

keeping.KeepBest.count = 2
spikes.Spikes.action = "roll_back"
profiling.ProfileSteps:
  first = 10
  last = 12
trackers.Wandb.project = "flan"
optimizers.OptaxOptimizer:
  name = "lion"
  arguments = {"b1": 0.95}
schedules.factors.product = "constant * rsqrt_decay"
follow.Follow.poll_seconds = 5.0

train.train:
  keep_best = @keeping.KeepBest()
  spikes = @spikes.Spikes()
  profile = @profiling.ProfileSteps()
  trackers = [@trackers.Wandb()]
  optimizer = @optimizers.OptaxOptimizer()
  learning_rate = @schedules.factors()
  trainable = "decoder/.*"
  frozen = (".*/scale", "token_embedder/.*")
  assignment_map = [(".*/lora/.*", None)]
  save_dtype = "bfloat16"
  on_damaged_checkpoint = "previous"
  on_nonfinite = "roll_back"
  distributed = True
evaluate.evaluate.follow = @follow.Follow()
"""


def made(configurable):
    return gin.get_configurable(configurable)()


def test_every_setting_can_be_bound(tmp_path):
    (tmp_path / "settings.gin").write_text(SETTINGS)
    gin_config.parse([str(tmp_path / "settings.gin")])
    assert made(KeepBest) == KeepBest(count=2)
    assert made(Spikes) == Spikes(action="roll_back")
    assert made(ProfileSteps) == ProfileSteps(first=10, last=12)
    assert made(Wandb) == Wandb(project="flan")
    assert made(OptaxOptimizer) == OptaxOptimizer("lion", {"b1": 0.95})
    assert made(Follow) == Follow(poll_seconds=5.0)
    assert abs(float(made(factors)(10_000)) - 0.5 / 100) < 1e-7
