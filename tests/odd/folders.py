"""Folders of pictures, as lists of files, and what must be made of each. Names are given with `\\xNN` for bytes that are not
UTF-8; `NAME*5` stands for `NAME0.png` to `NAME4.png`, a `=` behind a name for other contents than a picture's."""


def good():
    """(name, what is odd, files, classes, images for training and test, files left out)"""
    return [
        ("plain", "nothing", ["a/*5", "b/*5"], ["a", "b"], 8, 2, 0),
        ("empty-class", "a folder without pictures, which `allow_empty` permits", ["a/*5", "b/*5", "c/note.txt=x"],
         ["a", "b", "c"], 8, 2, 1),
        ("nested", "folders within those of the classes", ["a/x/*3", "a/y/z/*2", "b/*5"], ["a", "b"], 8, 2, 0),
        ("bytes", "names that are not UTF-8", ["caf\\xE9/*4", "caf\\xE9/\\xFF.png", "b/*5"], ["b", "caf\\xE9"], 8, 2, 0),
        ("hidden", "hidden files and folders", ["a/*5", "b/*5", ".git/0.png", "a/.x.png", "b/.y/0.png"], ["a", "b"], 8, 2, 3),
        ("archive", "what macOS' archiver leaves", ["a/*5", "b/*5", "__MACOSX/a/._0.png=x", ".DS_Store=x"], ["a", "b"], 8, 2, 2),
        ("test-only", "a class that only the test part has", ["train/a/*3", "train/b/*3", "test/a/*2", "test/c/*1"],
         ["a", "b", "c"], 6, 3, 0),
        ("numbers", "classes that are numbers", ["10/*5", "2/*5", "1/*5"], ["1", "2", "10"], 12, 3, 0),
        ("spaces", "spaces, dots and other letters", ["two words/*5", "v1.0/*5", "größe/*5"],
         ["größe", "two words", "v1.0"], 12, 3, 0),
        ("endings", "endings in capitals, and those that are not read", ["a/0.PNG", "a/*4", "b/*5", "b/x.heic=x", "b/y=x"],
         ["a", "b"], 8, 2, 2),
        ("loose", "files beside the folders of the classes", ["a/*5", "b/*5", "0.png", "labels.csv=x"], ["a", "b"], 8, 2, 2),
        ("parts", "train, val and another folder", ["Train/a/*3", "Train/b/*2", "val/a/*1", "val/b/*1", "raw/*2"],
         ["a", "b"], 5, 2, 2),
    ]


def bad():
    """(name, what is odd, files, words)"""
    return [
        ("flat", "pictures without classes", ["*5"], "has no sub-folders"),
        ("within", "one folder around the classes", ["photos/a/*2", "photos/b/*2"], "one sub-folder, which holds folders"),
        ("twice", "two folders for training", ["train/a/*2", "Training/a/*2"], "are one part of the data"),
        ("none", "no picture at all", ["a/x.txt=x", "b/y.heic=x"], "no pictures in"),
        ("untaught", "a class without pictures to learn from", ["train/a/*2", "train/b/x.txt=x", "test/a/*1", "test/b/*1"],
         "no training images of `b`"),
        ("broken", "an empty file, a page and half a picture", ["a/*5", "b/*5", "a/x.png=", "b/y.jpg=<html>", "b/z.png=\\x89PNG"],
         "3 of 13 pictures cannot be read"),
    ]
