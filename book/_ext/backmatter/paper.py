"""The parts of Dosovitskiy et al. 2021 (arXiv:2010.11929v2), in its order.

Every equation, table, figure and appendix is in PAPER, in this book's words.
What no place of the book names is in LEFT_OUT, too, with the reason.
"""

PAPER = {
    "Eq. 1": "the sequence: class token, projected patches, positions",
    "Eq. 2": "first half of a block: attention, added to the stream",
    "Eq. 3": "second half of a block: the MLP, added to the stream",
    "Eq. 4": "the image as one vector: the class token, normalised",
    "Eq. 5": "queries, keys and values",
    "Eq. 6": "attention weights",
    "Eq. 7": "one head: the weighted sum of the values",
    "Eq. 8": "all heads, joined and projected",
    "Table 1": "sizes of the models: Base, Large, Huge",
    "Table 2": "accuracy and cost beside the best of its time",
    "Table 3": "hyperparameters of pre-training",
    "Table 4": "hyperparameters of fine-tuning",
    "Table 5": "accuracy by pre-training data and model",
    "Table 6": "transfer and pre-training cost, model by model",
    "Table 7": "ResNets pre-trained with Adam and with SGD",
    "Table 8": "kinds of position embedding",
    "Table 9": "VTAB-1k, task by task",
    "Figure 1": "the model at a glance",
    "Figure 2": "VTAB by group of tasks",
    "Figure 3": "ImageNet accuracy by size of the pre-training set",
    "Figure 4": "few-shot accuracy by size of the pre-training set",
    "Figure 5": "accuracy by pre-training compute",
    "Figure 6": "what the class token attends to, on photographs",
    "Figure 7": "filters, similarity of positions, attention distance",
    "Figure 8": "scaling depth, width, MLP and patch size",
    "Figure 9": "class token against mean pooling",
    "Figure 10": "positions learned with other hyperparameters",
    "Figure 11": "attention distance, by head and depth",
    "Figure 12": "measured speed and largest batch, by image size",
    "Figure 13": "axial attention",
    "Figure 14": "more attention maps in the manner of Figure 6",
    "Appendix A": "multi-head self-attention",
    "Appendix B.1": "training",
    "Appendix B.1.1": "fine-tuning",
    "Appendix B.1.2": "self-supervision by masked patches",
    "Appendix C": "more results",
    "Appendix D.1": "SGD against Adam for ResNets",
    "Appendix D.2": "the shape of the Transformer",
    "Appendix D.3": "head type and class token",
    "Appendix D.4": "position embedding",
    "Appendix D.5": "what it costs in practice",
    "Appendix D.6": "axial attention",
    "Appendix D.7": "attention distance",
    "Appendix D.8": "attention maps",
    "Appendix D.9": "ObjectNet",
    "Appendix D.10": "VTAB, task by task",
}

SCALE = "needs pre-training at a scale that no reader of this book repeats"
RESNETS = "is about ResNets and hybrids; the book builds the plain ViT"
VTAB = "VTAB-1k is nineteen data sets to download; the book has none of them"
TPUS = "times TPUs; the book's own times are on the page Benchmarks"
AXIAL = "another kind of attention, which no later chapter needs"

LEFT_OUT = {
    "Table 4": "the book fine-tunes on other, smaller data sets",
    "Table 6": SCALE,
    "Table 7": RESNETS,
    "Table 9": VTAB,
    "Figure 2": VTAB,
    "Figure 5": SCALE,
    "Figure 8": SCALE,
    "Figure 10": SCALE,
    "Figure 12": TPUS,
    "Figure 13": AXIAL,
    "Figure 14": "more of Figure 6, on the paper's own photographs",
    "Appendix B.1.2": SCALE,
    "Appendix C": "numbers behind other figures; its Table 5 has places above",
    "Appendix D.1": RESNETS,
    "Appendix D.2": SCALE,
    "Appendix D.5": TPUS,
    "Appendix D.6": AXIAL,
    "Appendix D.9": SCALE,
    "Appendix D.10": VTAB,
}
