from tunesmith.reports.sources import named_sources


def test_files_without_folders_and_other_sources_whole():
    assert named_sources(["/home/me/train.csv", "hub:imdb:train"]) == "train.csv, hub:imdb:train"
    assert named_sources(["C:\\data\\train.csv"]) == "train.csv"
    assert named_sources(["memory:reviews", "https://x.org/a.csv"]) == "memory:reviews, https://x.org/a.csv"
    assert named_sources([f"{i}.csv" for i in range(5)]) == "0.csv, 1.csv, 2.csv and 2 more"
