"""From demonstrations to a baseline that is rolled out: the script, its weights, and the command that loads them."""

import numpy as np
import pytest
import synthetic

from data_scripts.train_policy import TrainPolicy, main
from geo4d_lite.commands.rollout import Rollout, command_line, policy_maker, situations
from geo4d_lite.data import EpisodeError, open_dataset
from geo4d_lite.evaluation.baselines import action_policy
from geo4d_lite.geometry import RGBD
from geo4d_lite.policies import Dreamitate, Observation

TASK = "PutSpatulaOnTable"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return synthetic.make_dataset(tmp_path_factory.mktemp("data"), 2, 1, frames=6, hz=2, width=40, height=32)


def first_observation(data) -> Observation:
    episode = open_dataset(data).split("train")[0]
    views = [RGBD(rgb[0], depth[0] * 1e-4, episode.K[0]) for rgb, depth, _ in map(episode.read_camera, (0, 1))]
    return Observation(*views, episode.X_WC[0], episode.X_WG[0], episode.width_m[0], episode.X_WC[1])


@pytest.mark.parametrize("policy", ["diffusion_policy", "dp3"])
def test_what_the_script_trains_the_rollout_loads(policy, data, tmp_path, capsys):
    options = TrainPolicy(policy, data, tmp_path / "weights", tmp_path / "run", steps=2, batch=2, pairs=2)
    main(options)
    capsys.readouterr()
    main(options)
    assert "step" not in capsys.readouterr().out, "the same command finds everything done"
    command = Rollout(task=TASK, policy=policy, weights=tmp_path / "weights")
    loaded = policy_maker(command)(None, None)
    answers = [loaded.predict_action(first_observation(data)) for _ in range(2)]
    assert answers[0].X_WG.shape == (8, 2, 4, 4) and answers[0].step_s == 0.5
    np.testing.assert_array_equal(answers[0].X_WG, answers[1].X_WG, "the same noise every time")
    other = {"diffusion_policy": "dp3", "dp3": "diffusion_policy"}[policy]
    with pytest.raises(ValueError, match=f"holds no weights of {other}"):
        action_policy(other, tmp_path / "weights", 0.06, 0)
    assert f"--policy {policy}" in command_line(command) and str(tmp_path / "weights") in command_line(command)


def test_a_task_that_was_not_recorded_is_refused(data, tmp_path):
    options = TrainPolicy("dp3", data, tmp_path / "weights", tmp_path / "run", task="PlaceAppleFromBowlIntoBin")
    with pytest.raises(EpisodeError, match=f"no episode of 'PlaceAppleFromBowlIntoBin'; it holds {TASK}"):
        main(options)


@pytest.mark.parametrize("policy", ["diffusion_policy", "dp3", "dreamitate"])
def test_a_baseline_without_weights_is_refused(policy):
    with pytest.raises(ValueError, match="needs --weights"):
        policy_maker(Rollout(policy=policy))


def test_dreamitate_is_fed_by_a_video_model(monkeypatch):
    monkeypatch.setattr("geo4d_lite.models.weights.load_pipeline", lambda folder, path_model: None)
    policy = policy_maker(Rollout(policy="dreamitate", weights="anywhere"))(None, None)
    assert isinstance(policy, Dreamitate)


def test_a_rollout_starts_from_unseen_poses_or_from_those_of_the_training_episodes(data):
    unseen = situations(Rollout(task=TASK, episodes=3, seed=70))
    assert unseen == [(70, None), (71, None), (72, None)]
    episodes = open_dataset(data).split("train")
    seen = situations(Rollout(task=TASK, episodes=2, seen=data))
    assert [seed for seed, _ in seen] == [episode.info.seed for episode in episodes]
    for (_, X_WC), episode in zip(seen, episodes, strict=True):
        np.testing.assert_array_equal(X_WC, episode.X_WC[:2])
    with pytest.raises(ValueError, match="has 2 training episodes"):
        situations(Rollout(task=TASK, episodes=3, seen=data))
    with pytest.raises(ValueError, match="has 0 training episodes of StoreCereal"):
        situations(Rollout(task="StoreCerealBoxUnderShelf", episodes=1, seen=data))
