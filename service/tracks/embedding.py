"""Maps poses so that those of one shape lie near each other, wherever and however the animal is.

As Figure 7E of Mathis et al. (2018, arXiv 1804.03142) does for poses of a hand: poses are turned
and moved into the animal's own frame, reduced by principal components, laid out by t-SNE (van der
Maaten and Hinton 2008) and grouped by k-means. Needs the analysis extra (scikit-learn).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.track import Track

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingChoices:
    """How poses are mapped."""

    axis: tuple[str, str]
    """Front and rear keypoint: poses are turned until they lie on one line, and measured by their
    distance."""
    cutoff: float = 0.6
    """Poses with a keypoint of less confidence are left out."""
    clusters: int = 8
    max_poses: int = 3000
    """Of more poses, this many are drawn by chance; t-SNE's time grows faster than their number."""
    perplexity: float = 30.0
    components: int = 10
    """Principal components that t-SNE and k-means see, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 2 <= self.clusters <= self.max_poses:
            raise InvalidConfig(
                f"{self.clusters} clusters of {self.max_poses} poses; give 2 or more"
            )
        if not self.perplexity > 0 or self.components < 2:
            raise InvalidConfig("the perplexity is above 0, and there are at least 2 components")


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """P poses on the map."""

    tracks: tuple[Track, ...]
    track: NDArray[np.int64]
    """(P,) number of the track that the pose is of."""
    row: NDArray[np.int64]
    """(P,) row of the track."""
    animal: NDArray[np.int64]
    """(P,)."""
    poses: Floats
    """(P, K, 2) in body lengths, the rear at (0, 0) and the front along +x; y to the animal's
    right in a picture from above."""
    components: Floats
    """(P, D) principal components."""
    explained: Floats
    """(D,) share of the variance of each."""
    places: Floats
    """(P, 2) on the map of t-SNE."""
    cluster: NDArray[np.int64]
    """(P,) from 0, by falling size."""
    found: int
    """Number of poses that could have been taken."""


def embed_poses(tracks: Sequence[Track], choices: EmbeddingChoices) -> Embedding:
    """Map the confident poses of tracks with the same keypoints together.

    Each track is scaled by its own median distance of the two keypoints of the axis, so that
    animals of another size, or nearer to the camera, look alike; a pose that is foreshortened,
    such as a rear, stays so. Keypoints that exist once in the scene are no part of a pose.

    Raises:
        InvalidRequest: the tracks have other keypoints, their rows are no animals, or there are
            fewer confident poses than clusters or than t-SNE needs.
    """
    tracks = [_without_unique(track) for track in tracks]
    names = tracks[0].keypoints
    for track in tracks:
        track.require_animals("an embedding of poses", across_frames=False)
        if track.keypoints != names:
            raise InvalidRequest(
                f"{track.source} has the keypoints {', '.join(track.keypoints)}, and "
                f"{tracks[0].source} has {', '.join(names)}; embed tracks of one model"
            )
    parts = [_own_frame(track, choices) for track in tracks]
    poses = np.concatenate([part[0] for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    row = np.concatenate([part[1] for part in parts])
    animal = np.concatenate([part[2] for part in parts])
    found = len(poses)
    needed = max(choices.clusters, 10)
    if found < needed:
        raise InvalidRequest(
            f"{found} poses have all keypoints at {choices.cutoff:g} or above; an embedding needs "
            f"{needed}: lower --cutoff or add recordings"
        )
    random = np.random.default_rng(choices.seed)
    taken = np.sort(random.choice(found, min(found, choices.max_poses), replace=False))
    poses = poses[taken]
    flat = poses.reshape(len(poses), -1)
    size = min(choices.components, *flat.shape)
    reducer = PCA(n_components=size, random_state=choices.seed)
    components = np.asarray(reducer.fit_transform(flat))
    places = TSNE(
        perplexity=min(choices.perplexity, (len(poses) - 1) / 3),
        init="pca",
        learning_rate="auto",
        random_state=choices.seed,
    ).fit_transform(components.astype(np.float32))
    grouped = KMeans(choices.clusters, n_init=4, random_state=choices.seed).fit_predict(components)
    order = np.argsort(-np.bincount(grouped, minlength=choices.clusters), kind="stable")
    return Embedding(
        tracks=tuple(tracks),
        track=owner[taken],
        row=row[taken],
        animal=animal[taken],
        poses=poses,
        components=components,
        explained=np.asarray(reducer.explained_variance_ratio_),
        places=np.asarray(places, np.float64),
        cluster=np.argsort(order)[grouped],
        found=found,
    )


def embedding_table(embedding: Embedding) -> pd.DataFrame:
    """One row a pose: file, frame_index, animal, tsne_x, tsne_y, cluster, pc1 and so on."""
    tracks = embedding.tracks
    pairs = list(zip(embedding.track, embedding.row, strict=True))
    columns: dict[str, object] = {
        "file": [tracks[one].source.name for one in embedding.track],
        "frame_index": [int(tracks[one].frame_index[row]) for one, row in pairs],
        "animal": [
            tracks[one].names[animal]
            for one, animal in zip(embedding.track, embedding.animal, strict=True)
        ],
        "tsne_x": embedding.places[:, 0],
        "tsne_y": embedding.places[:, 1],
        "cluster": embedding.cluster,
    }
    for place in range(embedding.components.shape[1]):
        columns[f"pc{place + 1}"] = embedding.components[:, place]
    return pd.DataFrame(columns)


def central_pose(embedding: Embedding, cluster: int) -> int:
    """Number of the pose nearest to the middle of a cluster."""
    members = np.flatnonzero(embedding.cluster == cluster)
    own = embedding.components[members]
    return int(members[np.linalg.norm(own - own.mean(axis=0), axis=1).argmin()])


def _without_unique(track: Track) -> Track:
    return track.select([name for name in track.keypoints if name not in track.unique_keypoints])


def _own_frame(
    track: Track, choices: EmbeddingChoices
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """(P, K, 2) poses of one track in the animals' own frames, their rows and animals."""
    front, rear = (track.place(name) for name in choices.axis)
    row, animal = np.nonzero(track.seen(choices.cutoff).all(axis=2))
    xy = track.keypoints_xy[row, animal].astype(np.float64)
    ahead = xy[:, front] - xy[:, rear]
    length = np.linalg.norm(ahead, axis=1)
    there = length > 1e-6
    row, animal, xy, ahead, length = (one[there] for one in (row, animal, xy, ahead, length))
    if not len(xy):
        return np.empty((0, len(track.keypoints), 2)), row, animal
    ahead = ahead / length[:, None]
    offset = xy - xy[:, rear][:, None]
    along = (offset * ahead[:, None]).sum(axis=-1)
    across = ahead[:, None, 0] * offset[..., 1] - ahead[:, None, 1] * offset[..., 0]
    return np.stack([along, across], axis=-1) / np.median(length), row, animal
