"""The study file that ``assay init`` writes: every key, with what it means."""

STUDY_TEMPLATE = """\
# A study: which number format of this model is the cheapest that is good enough, on this machine?
# Run it with `assay study study.toml`. Relative paths start at this file's folder. Flags override keys.

model = "model.onnx"            # ONNX, opset 13 or newer (older ones are converted where they can be)
output = "STUDY"                # everything is kept here; the same command resumes
task = "classification"         # what the model does
# decoder = "yolov8"            # task "detection": what reads a raw head: yolov8, yolov5, yolox, bins, ssd, detr, ...

# How much worse than FP32 is tolerated: "top1: 0.5pp" (percentage points), "top1: 0.005", or
# "top1: 1%" (of FP32's own value). The bound, not the point estimate, has to keep it.
tolerance = "top1: 0.5pp"
confidence = 0.95               # one-sided, of every bound

minimize = "latency"            # latency, memory, size or cost; or maximize = "throughput"
# constraints = ["p99 <= 10ms at 99%", "throughput >= 200/s", "memory <= 512MiB", "size <= 5MB"]
# device = "board.toml"         # a device profile: threads, memory, frames a second, watts
# price_per_hour = 0.40         # of the serving machine, in your currency; gives the cost per million
# prices = "prices.toml"         # instead: a file of prices; machine = "NAME" names one of its machines

runtimes = ["onnxruntime", "openvino"]
# build_for = ["sm86"]           # devices not here that tensorrt, say, builds for: built, not measured
precisions = ["fp32", "bf16", "fp16", "int8"]   # and int4: weights in 4 bits; fp8: TensorRT
ranges = ["mse", "min-max"]     # how INT8 clipping ranges are solved; also weighted-mse, percentile, moving-average,
                                # entropy, and best: one of them all for each tensor
repairs = ["equalise", "outliers", "smooth", "bias", "round"]   # what may be done to a model that INT8 damages
batch = 1                       # items per call at which latency is measured
threads = 1                     # compute threads of the deployment
# latency_seconds = 60          # budget of the interleaved latency measurement
# trial_seconds = 600           # what gives no answer for longer, building or running, fails its trial
# trial_memory = "4GiB"         # what takes more fails its trial; left out, 80% of what is free when it starts
# mixed_plans = 8               # most mixed plans that are built where INT8 strains the tolerance; 0 for none
# mixed_seconds = 600           # no mixed plan is begun after this time

# accept_unfit = true           # build INT8 from calibration items that are judged unfit, too
# accept_unresolvable = true    # go on with too few items for the tolerance
# sequential = false            # certify on all items, instead of until the items tell
# threshold = "max-f1"          # what counts as positive: a number, "max-f1", "recall >= 0.9" or "precision >= 0.95";
                                # with ", same share" behind it variants flag the share that FP32 flags;
                                # a goal is tuned for each variant on items apart; left out, the task's own
# tuning_items = 400            # evaluation items to tune on, where a fifth of them is too few
# slices = ["class: 5pp"]       # tolerated in every slice of a column, or of the classes

[calibration]                   # representative inputs, no labels needed
path = "calibration.npz"        # .npz (one array per model input), image folder, .parquet, module:function, or a
                                # set made by `assay calibration create`
# items = 300                   # so many; left out, as many as the ranges need to converge, 300 at most

[evaluation]                    # labelled inputs: array `target`, class folders, ...
path = "evaluation.npz"
# items = 10000

# [production]                  # a sample of what will be served, which the calibration items are judged against;
# path = "production.npz"       # left out, they are judged against the evaluation items

# [decoding]                    # task "detection": what a raw head holds, where it differs from the convention
# scores = "sigmoid"            # docs/detection.md has all keys

# How stored items become model inputs; leave out where they are stored as the model takes them.
# [preprocess]
# resize = 256                  # short side, or [width, height]
# crop = 224
# layout = "nchw"
# channels = "rgb"
# scale = 255                   # x / scale, then (x - mean) / std per channel
# mean = [0.485, 0.456, 0.406]
# std = [0.229, 0.224, 0.225]

# [preprocess.text]             # the data are texts: .csv, .tsv, .jsonl, .txt or Parquet
# tokenizer = "tokenizer.json"
# column = "text"
# max_length = 128              # tokens; longer texts are cut, or refused with truncate = false
# [preprocess.lengths]          # how items of different lengths become batches; texts need it only to change this
# buckets = [16, 32, 64, 128]

# What generating costs, of a language model with a cache; latency is that of a step at the first context.
# [generation]
# contexts = [128, 1024]        # tokens that stand before those that are generated
# batches = [1, 8]              # texts side by side; left out, the batch above
# seconds = 30                  # of the rounds at all of these together
"""
