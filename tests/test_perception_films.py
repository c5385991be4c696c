"""SAM 2 over whole films, and which perception a rollout takes: each image once, in order; the choice always said."""

from pathlib import Path

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, render, shell_camera, table
from test_policies_safety import observed, states

from geo4d_lite.commands.rollout import Rollout, command_line, policy_maker
from geo4d_lite.geometry import RGBD
from geo4d_lite.perception import ColourSegmenter, FilmSegmenter, PerceptionError, SdfTracker
from geo4d_lite.policies import VideoPolicy


class Sam2StandIn:
    """The two methods of `Sam2Segmenter`; answers by colour and notes what it was shown."""

    def __init__(self):
        self.colours, self.films = ColourSegmenter(), []

    def start(self, rgb, labels):
        if not labels.any():
            raise PerceptionError("nothing to follow")
        self.films.append([rgb])
        return labels

    def segment(self, rgb):
        self.films[-1].append(rgb)
        return self.colours.segment(rgb)


@pytest.fixture(scope="module")
def case():
    return observed(*states(3))


def policy_with(make_segmenter, video):
    segmenter = make_segmenter(lambda view_n, view_m: video)
    model = segmenter if isinstance(segmenter, FilmSegmenter) else lambda view_n, view_m: video
    return VideoPolicy(model, segmenter, lambda arm: SdfTracker(arm, segmenter), 0.06)


def test_a_policy_on_films_sees_what_it_sees_image_by_image(case):
    observation, video = case
    sam2 = Sam2StandIn()
    by_film = policy_with(lambda model: FilmSegmenter(model, sam2, ColourSegmenter()), video)
    by_image = policy_with(lambda model: ColourSegmenter(), video)
    ours, theirs = (policy.predict_action(observation) for policy in (by_film, by_image))
    np.testing.assert_array_equal(ours.X_WG, theirs.X_WG)
    np.testing.assert_array_equal(ours.width_m, theirs.width_m)
    views = (observation.view_n, observation.view_m)
    for shown, view, film in zip(sam2.films, views, video.rgb, strict=True):
        assert len(shown) == 1 + len(film), "each image once"
        assert all(np.array_equal(a, b) for a, b in zip(shown, [view.rgb, *film], strict=True))


def test_a_view_without_a_gripper_has_empty_labels(case):
    observation, video = case
    bare, _ = render(table(), shell_camera(), LITE)
    blind = RGBD(bare.rgb, bare.depth_m, bare.K)
    films = FilmSegmenter(lambda view_n, view_m: video, Sam2StandIn(), ColourSegmenter())
    films(blind, observation.view_m)
    assert not films.segment(video.rgb[0, 0]).any() and films.segment(video.rgb[1, 0]).any()


def test_an_image_of_no_film_is_an_error_and_not_an_empty_mask(case):
    observation, video = case
    films = FilmSegmenter(lambda view_n, view_m: video, Sam2StandIn(), ColourSegmenter())
    films(observation.view_n, observation.view_m)
    other, _ = render(table().add_gripper(0, gripper_pose((0.0, 0.1, 0.3)), 0.1), shell_camera(), LITE)
    with pytest.raises(ValueError, match="in neither film of the newest video") as caught:
        films.segment(other.rgb)
    assert not isinstance(caught.value, PerceptionError), "a policy takes that one for a gripper out of sight"


def test_a_rollout_says_who_reads_its_films(capsys):
    policy_maker(Rollout(policy="oracle"))
    assert capsys.readouterr().out == "films are read by colours and the lite tracker\n"


def test_a_rollout_names_what_its_perception_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_scripts.install_trackers --only foundationpose"):
        policy_maker(Rollout(policy="oracle", foundationpose=tmp_path))
    with pytest.raises(FileNotFoundError, match="no SAM 2 at"):
        policy_maker(Rollout(policy="oracle", sam2=str(tmp_path)))


def test_the_command_of_a_result_names_the_perception_where_it_is_not_the_lite_one():
    assert "sam2" not in command_line(Rollout()) and "foundationpose" not in command_line(Rollout())
    words = command_line(Rollout(foundationpose=Path("runs/trackers/foundationpose"), sam2="runs/trackers/sam2"))
    assert "--foundationpose runs/trackers/foundationpose --sam2 runs/trackers/sam2" in words


def test_a_policy_without_films_refuses_a_perception_for_them():
    with pytest.raises(ValueError, match="dp3 takes neither --foundationpose nor --sam2"):
        policy_maker(Rollout(policy="dp3", weights=Path("anywhere"), sam2="anywhere"))
