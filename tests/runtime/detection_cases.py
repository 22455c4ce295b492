"""Cases for the detection functions (api/cvi_nn.md section 10.6), written from the formulas."""

import numpy as np
from runtime.cpu_cases import CASES, Case, F, case, normal


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _erase(rows, scores, classes, overlap, threshold):
    """Suppression by setting scores to 0; indices of the survivors in order."""
    scores = scores.copy()
    for i in range(len(rows)):
        own = scores[i]
        if own == 0:
            continue
        for j in range(i + 1, len(rows)):
            if scores[j] == 0 or classes[i] != classes[j]:
                continue
            if overlap(rows[i], rows[j]) > threshold:
                scores[i if own < scores[j] else j] = 0
    return [i for i in range(len(rows)) if scores[i] > 0]


def _make_yolo(tiny: bool, v4: bool, custom: bool, far: bool = False):
    def make(rng):
        classes, net = 5, 64
        levels = [(2, 2), (4, 4)] if tiny else [(2, 2), (4, 4), (8, 8)]
        inputs = [normal(rng, 2, 3 * (5 + classes), h, w) for h, w in levels]
        for x in inputs:
            x[:, 4 :: 5 + classes] -= 0.5
            if far:
                x[:, 9 :: 5 + classes] -= 150
        anchors = (
            "10,14,23,27,37,58,81,82,135,169,344,319"
            if tiny
            else "142,110,192,243,459,401,36,75,76,55,72,146,12,16,19,36,40,28"
            if v4
            else "10,13,16,30,33,23,30,61,62,45,59,119,116,90,156,198,373,326"
        )
        arguments = {
            "net_input_h": net,
            "net_input_w": net,
            "nms_threshold": 0.4,
            "obj_threshold": 0.3,
            "keep_topk": 12,
            "class_num": classes,
        }
        if tiny:
            arguments["tiny"] = True
        if v4:
            arguments["yolo_v4"] = True
        if custom:
            anchors = ",".join(str(5 + 3 * i) for i in range(18))
            arguments["anchors"] = anchors
        numbers = np.array([float(a) for a in anchors.split(",")]).reshape(-1, 3, 2)
        out = np.zeros((2, 1, 12, 6), F)
        for n in range(2):
            rows = []
            for level, x in enumerate(sorted(inputs, key=lambda v: -v.shape[3])):
                h, w = x.shape[2:]
                t = x[n].astype(np.float64).reshape(3, 5 + classes, h, w)
                for r in range(h):
                    for c in range(w):
                        for a in range(3):
                            v = t[a, :, r, c]
                            logits = v[5:]
                            shifted = logits - logits.max()
                            if logits.min() < -100:
                                shifted = shifted / logits.min() * -100
                            p = np.exp(shifted) / np.exp(shifted).sum()
                            conf = _sigmoid(v[4])
                            score = conf * p.max()
                            if conf >= 0.3 and score >= 0.3:
                                aw, ah = numbers[level, a]
                                rows.append(
                                    [
                                        (_sigmoid(v[0]) + c) / w,
                                        (_sigmoid(v[1]) + r) / h,
                                        np.exp(v[2]) * aw / net,
                                        np.exp(v[3]) * ah / net,
                                        p.argmax(),
                                        score,
                                    ]
                                )

            def iou(p, q):
                low = [max(p[i] - p[i + 2] / 2, q[i] - q[i + 2] / 2) for i in (0, 1)]
                high = [min(p[i] + p[i + 2] / 2, q[i] + q[i + 2] / 2) for i in (0, 1)]
                sides = [high[i] - low[i] for i in (0, 1)]
                inter = 0 if min(sides) < 0 else sides[0] * sides[1]
                return inter / (p[2] * p[3] + q[2] * q[3] - inter)

            rows = np.array(rows)
            assert 0 < len(rows) <= 200
            kept = _erase(rows, rows[:, 5], rows[:, 4], iou, 0.4)[:12]
            out[n, 0, : len(kept)] = rows[kept]
        return Case("yolo_detection", arguments, inputs, [out], exact=False)

    return make


CASES["yolo_v3"] = _make_yolo(False, False, False)
CASES["yolo_tiny"] = _make_yolo(True, False, False)
CASES["yolo_v4"] = _make_yolo(False, True, False)
CASES["yolo_anchors"] = _make_yolo(False, False, True)
CASES["yolo_far_logits"] = _make_yolo(False, False, False, far=True)


def _area(p, extra):
    return (p[2] - p[0] + extra) * (p[3] - p[1] + extra)


def _inter(p, q, extra):
    w = min(p[2], q[2]) - max(p[0], q[0]) + extra
    h = min(p[3], q[3]) - max(p[1], q[1]) + extra
    return 0 if w < 0 or h < 0 else w * h


def _apply(roi, d):
    w, h = roi[2] - roi[0] + 1, roi[3] - roi[1] + 1
    x, y = d[0] * w + roi[0] + 0.5 * w, d[1] * h + roi[1] + 0.5 * h
    bw, bh = np.exp(d[2]) * w, np.exp(d[3]) * h
    return np.array([x - bw / 2, y - bh / 2, x + bw / 2, y + bh / 2])


def _make_frcn(images: int):
    def make(rng):
        """The vendor crashes or returns garbage for more than one image."""
        regions, classes, threshold = 14, 4, 0.65 + 0.15 * (images - 1)
        corner = rng.uniform(0, 60, (images, regions, 2))
        rois = np.concatenate(
            [
                np.repeat(np.arange(images), regions).reshape(images, regions, 1),
                corner,
                corner + rng.uniform(10, 60, (images, regions, 2)),
            ],
            2,
        )
        rois = rois.astype(F)
        scores = rng.uniform(0, 1, (images * regions, classes)).astype(F)
        deltas = normal(rng, images * regions, 4 * classes, scale=0.1)
        out = np.zeros((images, 1, 20, 6), F)
        for n in range(images):
            rows = []
            for r in range(regions):
                for c in range(1, classes):
                    score = scores[n * regions + r, c]
                    if score > threshold:
                        box = _apply(
                            rois[n, r, 1:].astype(float), deltas[n * regions + r, 4 * c : 4 * c + 4]
                        )
                        rows.append([*box, c, score])
            rows = np.array(rows)

            def iou(p, q):
                inter = _inter(p, q, 0)
                return inter / (_area(p, 1) + _area(q, 1) - inter)

            kept = _erase(rows, rows[:, 5], rows[:, 4], iou, 0.3)[:20]
            out[n, 0, : len(kept)] = rows[kept]
        arguments = {
            "nms_threshold": 0.3,
            "obj_threshold": threshold,
            "keep_topk": 20,
            "class_num": classes,
        }
        inputs = [rois.reshape(images, 1, regions, 5), scores, deltas]
        return Case("frcn_detection", arguments, inputs, [out], exact=False, vendor=images == 1)

    return make


CASES["frcn"] = _make_frcn(1)
CASES["frcn_two_images"] = _make_frcn(2)


@case
def proposal(rng):
    h, w, stride, base, net = 5, 6, 16, 16, 96
    scores = rng.uniform(0, 1, (2, 18, h, w)).astype(F)
    deltas = normal(rng, 2, 36, h, w, scale=0.2)
    rha = lambda v: np.floor(v + 0.5)  # noqa: E731
    out = np.zeros((2, 1, 15, 5), F)
    for n in range(2):
        rows = []
        for k in range(9):
            ratio, scale = (0.5, 1, 2)[k // 3], (8, 16, 32)[k % 3]
            ws = rha(np.sqrt(base * base / ratio))
            aw, ah = ws * scale, rha(ws * ratio) * scale
            c = (base - 1) / 2
            for y in range(h):
                for x in range(w):
                    score = scores[n, 9 + k, y, x]
                    if score < 0.8:
                        continue
                    size, d = np.array([aw, ah]), deltas[n, 4 * k : 4 * k + 4, y, x]
                    centre = np.array([x, y]) * stride + c + size * d[:2]
                    half = size * np.exp(d[2:]) / 2
                    box = np.concatenate([centre - half, centre + half])
                    rows.append((np.clip(box, 0, net - 1), score))
        i = 0
        while i < len(rows):
            j = i + 1
            while j < len(rows):
                p, q = rows[i][0], rows[j][0]
                inter = _inter(p, q, 0)
                if inter / (_area(p, 1) + _area(q, 1) - inter) > 0.7:
                    if rows[i][1] >= rows[j][1]:
                        del rows[j]
                        continue
                    del rows[i]
                    j = i + 1
                    continue
                j += 1
            i += 1
        for r, (box, _) in enumerate(rows[:15]):
            out[n, 0, r] = [n, *box]
    arguments = {
        "feat_stride": stride,
        "anchor_base_size": base,
        "net_input_h": net,
        "net_input_w": net,
        "rpn_obj_threshold": 0.8,
        "rpn_nms_threshold": 0.7,
        "rpn_nms_post_top_n": 15,
    }
    return Case("proposal", arguments, [deltas, scores], [out], exact=False)


@case
def retinaface(rng):
    inputs, per_level = [], []
    for size, scales, stride in ((2, (32, 16), 32), (4, (8, 4), 16), (8, (2, 1), 8)):
        scores = rng.uniform(0, 1, (2, 4, size, size)).astype(F)
        boxes, marks = normal(rng, 2, 8, size, size, scale=0.2), normal(rng, 2, 20, size, size)
        inputs += [marks, scores, boxes]
        per_level.append((size, scales, stride, scores, boxes, marks))
    out = np.zeros((2, 1, 10, 15), F)
    for n in range(2):
        found = []
        for size, scales, stride, scores, boxes, marks in per_level:
            for y in range(size):
                for x in range(size):
                    for k, m in enumerate(scales):
                        score = scores[n, 2 + k, y, x]
                        if score <= 0.7:
                            continue
                        low, high = 8 - (17 * m - 1) / 2, 8 + (17 * m + 1) / 2
                        w = high - low + 1
                        centre = low + np.array([x, y]) * stride + (w - 1) / 2
                        d = boxes[n, 4 * k : 4 * k + 4, y, x]
                        c, s = d[:2] * w + centre, np.exp(d[2:]) * w
                        points = marks[n, 10 * k : 10 * k + 10, y, x].reshape(5, 2) * w + centre
                        found.append(
                            [*(c - (s - 1) / 2), *(c + (s - 1) / 2), score, *points.ravel()]
                        )
        found = np.array(sorted(found, key=lambda r: -r[4]))
        gone, row = np.zeros(len(found), bool), 0
        for i, box in enumerate(found):
            if gone[i] or row == 10:
                continue
            out[n, 0, row] = box
            row += 1
            for j in range(i + 1, len(found)):
                inter = _inter(found[i + 1], found[j], 1)
                if inter / (_area(box, 1) + _area(found[j], 1) - inter) > 0.4:
                    gone[j] = True
    arguments = {"nms_threshold": 0.4, "confidence_threshold": 0.7, "keep_topk": 10}
    return Case("retinaface_detection", arguments, inputs, [out], exact=False)


def _make_ssd(shared: bool, threshold: float, top_k: int, keep: int, background: int = 0):
    def make(rng):
        priors, classes = 30, 4
        low = rng.uniform(0, 0.7, (priors, 2))
        boxes = np.concatenate([low, low + rng.uniform(0.1, 0.3, (priors, 2))], 1)
        variance = np.tile([0.1, 0.1, 0.2, 0.2], (priors, 1))
        prior = np.stack([boxes, variance]).reshape(1, 2, 4 * priors, 1).astype(F)
        copies = 1 if shared else classes
        loc = normal(rng, 2, priors * copies * 4)
        conf = rng.uniform(0, 1, (2, priors * classes)).astype(F)
        rows = []
        for n in range(2):
            kept_all = []
            for c in range(classes):
                if c == background:
                    continue
                scores = conf[n].reshape(priors, classes)[:, c]
                order = [p for p in np.argsort(-scores, kind="stable") if scores[p] > threshold]
                kept = []
                for p in order[:top_k]:
                    d = loc[n].reshape(priors, copies, 4)[p, 0 if shared else c].astype(float)
                    b, v = prior.reshape(2, priors, 4)[:, p].astype(float)
                    size, centre = b[2:] - b[:2], (b[:2] + b[2:]) / 2
                    m = v[:2] * d[:2] * size + centre
                    s = np.exp(v[2:] * d[2:]) * size
                    box = np.concatenate([m - s / 2, m + s / 2])
                    if all(
                        _inter(box, q, 0) * 1.45 <= (_area(box, 0) + _area(q, 0)) * 0.45
                        for _, q in kept
                    ):
                        kept.append((scores[p], box))
                kept_all += [(c, s, q) for s, q in kept]
            best = sorted(range(len(kept_all)), key=lambda i: -kept_all[i][1])[:keep]
            rows += [[n, kept_all[i][0], kept_all[i][1], *kept_all[i][2]] for i in sorted(best)]
        out = np.full((1, 1, 2 * keep, 7), -1, F)
        if rows:
            out[0, 0, : len(rows)] = rows
        else:
            out[0, 0, :2, 0] = [0, 1]
        arguments = {
            "num_classes": classes,
            "share_location": shared,
            "background_label_id": background,
            "code_type": "CENTER_SIZE",
            "top_k": top_k,
            "nms_threshold": 0.45,
            "confidence_threshold": threshold,
            "keep_top_k": keep,
        }
        return Case("detectionoutput", arguments, [loc, conf, prior], [out], exact=False)

    return make


CASES["ssd"] = _make_ssd(True, 0.5, 20, 12)
CASES["ssd_all_kept"] = _make_ssd(True, 0.7, 20, 60)
CASES["ssd_location_per_class"] = _make_ssd(False, 0.5, 8, 15, background=2)
CASES["ssd_nothing"] = _make_ssd(True, 1.5, 20, 6)
