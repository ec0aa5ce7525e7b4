"""Writes the tables and expected.json beside this file. Takes scikit-learn: `pip install scikit-learn==1.9.1`."""

import json
import pathlib

import numpy
from sklearn import (cluster, datasets, decomposition, ensemble, linear_model, naive_bayes, neighbors, neural_network,
                     pipeline, preprocessing, svm, tree)

HERE = pathlib.Path(__file__).parent


def table(name):
    load = getattr(datasets, f"load_{name}")
    return load(scaled=False) if name == "diabetes" else load()


def write(name, data):
    columns = [*[column.replace(" ", "_").replace(",", "") for column in data.feature_names], "target"]
    rows = [[*row, target] for row, target in zip(data.data, data.target)]
    lines = [",".join(columns), *[",".join(f"{value:.10g}" for value in row) for row in rows]]
    (HERE / f"{name}.csv").write_text("\n".join(lines) + "\n")


def scaled(model):
    return pipeline.make_pipeline(preprocessing.StandardScaler(), model)


CLASSIFIERS = {
    "logistic-regression": scaled(linear_model.LogisticRegression(max_iter=5000)),
    "decision-tree": tree.DecisionTreeClassifier(random_state=0),
    "random-forest": ensemble.RandomForestClassifier(random_state=0),
    "k-nearest-neighbours": scaled(neighbors.KNeighborsClassifier()),
    "support-vector-machine": scaled(svm.SVC(gamma="auto")),
    "naive-bayes": naive_bayes.GaussianNB(),
    "multilayer-perceptron": scaled(neural_network.MLPClassifier(random_state=0, max_iter=1000)),
}
REGRESSORS = {
    "linear-regression": linear_model.LinearRegression(),
    "ridge-regression": scaled(linear_model.Ridge()),
    "lasso": scaled(linear_model.Lasso()),
    "elastic-net": scaled(linear_model.ElasticNet(alpha=0.1)),
    "decision-tree-regression": tree.DecisionTreeRegressor(random_state=0, max_depth=4),
    "random-forest-regression": ensemble.RandomForestRegressor(random_state=0),
    "k-nearest-neighbours-regression": scaled(neighbors.KNeighborsRegressor()),
    "support-vector-regression": scaled(svm.SVR(C=100.0, gamma="auto")),
}


def expected():
    figures = {}
    for name in ("iris", "wine", "digits", "diabetes"):
        data = table(name)
        write(name, data)
        held = numpy.arange(len(data.target)) % 4 == 3
        models = REGRESSORS if name == "diabetes" else CLASSIFIERS
        figures[name] = {
            algorithm: round(model.fit(data.data[~held], data.target[~held]).score(data.data[held], data.target[held]), 4)
            for algorithm, model in models.items()
        }
    iris = datasets.load_iris().data
    figures["iris"]["k-means inertia"] = round(cluster.KMeans(3, n_init=10, random_state=0).fit(iris).inertia_, 3)
    figures["iris"]["pca explained_variance_ratio"] = round(
        float(decomposition.PCA(2).fit(iris).explained_variance_ratio_.sum()), 5)
    labels = cluster.DBSCAN(eps=0.5, min_samples=5).fit(iris).labels_
    figures["iris"]["dbscan clusters"] = int(labels.max() + 1)
    return figures


if __name__ == "__main__":
    (HERE / "expected.json").write_text(json.dumps(expected(), indent=2) + "\n")
