"""TreeQuest behind one line of JSON a request, for the benchmark of the search.

`open` begins a search, `next` tells the score of the trial before and asks for another, `measure` times asks and tells
on a tree of a given size. Nodes are named as the library does: in the order of their scores, the root being -1.
"""

import json
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")


def make_algorithm(name):
    import treequest as tq

    if name == "abmcts-a":
        return tq.ABMCTSA()
    if name == "abmcts-a-beta":
        return tq.ABMCTSA(dist_type="beta")
    if name == "abmcts-m":
        return tq.ABMCTSM(max_process_workers=1)
    if name == "mcts":
        return tq.StandardMCTS()
    raise ValueError(name)


class Peer:
    """One search at a time."""

    def open(self, algorithm, arms, seed):
        np.random.seed(seed)
        self.algorithm = make_algorithm(algorithm)
        self.state = self.algorithm.init_tree()
        self.actions = [str(arm) for arm in range(arms)]
        self.trial = None
        return {}

    def next(self, score=None):
        if score is not None:
            self.state = self.algorithm.tell(self.state, self.trial.trial_id, ("", score))
        self.state, trials = self.algorithm.ask_batch(self.state, 1, self.actions)
        self.trial = trials[0]
        return {"parent": self.trial.node_to_expand, "arm": int(self.trial.action)}

    def measure(self, algorithm, arms, seed, scores, nodes):
        """Grows a tree to `nodes`, then times each further ask with its tell, in microseconds of wall and processor."""
        self.open(algorithm, arms, seed)
        grow = self.grow_cheaply if algorithm == "abmcts-m" else self.step
        for score in scores[:nodes]:
            grow(score)
        wall, processor = [], []
        for score in scores[nodes:]:
            started, processor_started = time.perf_counter(), time.process_time()
            self.step(score)
            wall.append((time.perf_counter() - started) * 1e6)
            processor.append((time.process_time() - processor_started) * 1e6)
        return {"wall": wall, "processor": processor}

    def step(self, score):
        self.state, trials = self.algorithm.ask_batch(self.state, 1, self.actions)
        self.state = self.algorithm.tell(self.state, trials[0].trial_id, ("", score))

    def grow_cheaply(self, score):
        """The mixed model takes seconds a decision: its tree is grown by trials at random places."""
        nodes = self.state.tree.get_nodes()
        node = nodes[np.random.randint(len(nodes))] if np.random.random() < 0.6 else self.state.tree.root
        action = self.actions[np.random.randint(len(self.actions))]
        trial = self.state.trial_store.create_trial(node, action)
        self.state = self.algorithm.tell(self.state, trial.trial_id, ("", score))


def main():
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request.pop("call"))(**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
