#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares a video with what Atelier made of it, using only ffprobe and ffmpeg.

Prints one line per check, "PASS name" or "FAIL name: why", and exits with 1 if any failed, with 2
if a file cannot be read at all. What is compared: number and timestamps of the decoded frames of
the scored video, its size, sample aspect ratio, rotation, colour tags and HDR10 metadata; chapters;
for every other stream its bytes (a hash of each packet), packet timestamps, codec, language, title
and disposition; the file's tags. Timestamps must agree exactly, or, where either container counts
coarser than the other (Matroska: 1 ms), within one tick of the coarser one.
"""
import argparse
import json
import subprocess
import sys
from fractions import Fraction

OLD_CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration",
                      "vendor_id", "encoding_tool", "handler_name"}
RGB = ("gbr", "rgb", "bgr", "argb", "abgr", "pal8", "0rgb", "0bgr", "bayer")
# ISO 639-2 has two codes for these languages; a container may know one of them only.
LANGUAGES = dict(pair.split("/") for pair in (
    "alb/sqi arm/hye baq/eus bur/mya chi/zho cze/ces dut/nld fre/fra geo/kat ger/deu gre/ell ice/isl "
    "mac/mkd mao/mri may/msa per/fas rum/ron slo/slk tib/bod wel/cym").split())
TEXT_SUBTITLES = {"subrip", "mov_text", "ass", "ssa", "webvtt", "text"}
failures = 0


def report(name, ok, why=""):
    global failures
    failures += 0 if ok else 1
    print(f"PASS {name}" if ok else f"FAIL {name}: {why}")


def equal(name, wanted, got):
    report(name, wanted == got, f"input {wanted!r}, output {got!r}")


def ffprobe(path, *options):
    done = subprocess.run(["ffprobe", "-v", "error", "-of", "json", *options, "-i", f"file:{path}"],
                          capture_output=True)
    if done.returncode != 0:
        print(f"FAIL open: ffprobe cannot read {path}: {done.stderr.decode(errors='replace')[:300]}")
        sys.exit(2)
    return json.loads(done.stdout.decode(errors="replace"))


def load(path):
    head = ffprobe(path, "-show_streams", "-show_format", "-show_chapters")
    head["path"] = path
    head["matroska"] = "matroska" in head["format"]["format_name"]
    packets = ffprobe(path, "-show_packets", "-show_data_hash", "sha256", "-show_entries",
                      "packet=stream_index,pts,dts,duration,flags,size,data_hash")["packets"]
    head["packets"] = {s["index"]: [] for s in head["streams"]}
    for packet in packets:
        head["packets"].setdefault(packet["stream_index"], []).append(packet)
    return head


def has_adts(media, stream):
    """AAC with a header in front of each packet, which MP4 and Matroska keep once, for all."""
    return (stream.get("codec_name") == "aac" and
            media["format"]["format_name"] in ("mpegts", "mpeg", "aac"))


def bare_aac_hashes(media, stream):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", f"file:{media['path']}", "-map",
                           f"0:{stream['index']}", "-c", "copy", "-bsf", "aac_adtstoasc", "-f",
                           "framehash", "-hash", "sha256", "-"], capture_output=True)
    lines = [line for line in done.stdout.decode().splitlines() if not line.startswith("#")]
    if done.returncode != 0 or not lines:
        print(f"FAIL open: ffmpeg cannot read stream {stream['index']} of {media['path']}")
        sys.exit(2)
    return ["SHA256:" + line.split(",")[5].strip() for line in lines]  # as ffprobe writes it


def has_start_codes(media, stream):
    """H.264 and HEVC with Annex B's start codes, where MP4 and Matroska have lengths."""
    return (stream.get("codec_name") in ("h264", "hevc") and
            media["format"]["format_name"] in ("mpegts", "mpeg", "h264", "hevc"))


def picture_hashes(media, stream):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", f"file:{media['path']}", "-map",
                           f"0:{stream['index']}", "-fps_mode", "passthrough", "-f", "framehash",
                           "-hash", "sha256", "-"], capture_output=True)
    lines = [line for line in done.stdout.decode().splitlines() if not line.startswith("#")]
    if done.returncode != 0 or not lines:
        print(f"FAIL open: ffmpeg cannot decode stream {stream['index']} of {media['path']}")
        sys.exit(2)
    return [line.split(",")[5].strip() for line in lines]


def packet_hashes(media, stream, packets, bare):
    return bare_aac_hashes(media, stream) if bare else [p["data_hash"] for p in packets]


def is_cover(stream):
    return stream.get("disposition", {}).get("attached_pic") == 1


def scored_stream(media, wanted):
    """libav's best video stream, cover art excluded: the most pixels and packets."""
    videos = [s for s in media["streams"] if s["codec_type"] == "video" and not is_cover(s)]
    if wanted is not None:
        videos = [s for s in videos if s["index"] == wanted]
    if not videos:
        print(f"FAIL open: {media['path']} has no such video stream")
        sys.exit(2)
    done = subprocess.run(["ffmpeg", "-v", "info", "-i", f"file:{media['path']}", "-f", "null", "-t",
                           "0.1", "-"], capture_output=True).stderr.decode(errors="replace")
    for line in done.splitlines():  # "  Stream #0:3 -> #0:0 (h264 (native) -> wrapped_avframe ...)"
        if wanted is None and "Stream #0:" in line and "-> #0:0" in line:
            index = int(line.split("#0:")[1].split()[0])
            chosen = [s for s in videos if s["index"] == index]
            if chosen:
                return chosen[0]
    return videos[0]


def base(stream):
    return Fraction(stream["time_base"])


def frames(media, stream):
    """Times of all decoded frames (None: the file gives it none), the first one's side data."""
    select = ("-select_streams", str(stream["index"]), "-show_frames")
    # Not with side data: ffprobe would then list packets as well, under another name.
    entries = ffprobe(media["path"], *select, "-show_entries",
                      "frame=best_effort_timestamp")["frames"]
    first = ffprobe(media["path"], *select, "-read_intervals", "%+#1")["frames"]
    times = [Fraction(f["best_effort_timestamp"]) * base(stream)
             if "best_effort_timestamp" in f else None for f in entries]
    return times, first[0].get("side_data_list", []) if first else []


def tolerance(a, b, media_a, media_b):
    ticks = [base(s) for s, m in ((a, media_a), (b, media_b))]
    # A finer base that holds every tick of the coarser one needs no tolerance.
    if not media_a["matroska"] and not media_b["matroska"]:
        return Fraction(0) if (ticks[0] / ticks[1]).denominator == 1 else max(ticks)
    if media_a["matroska"] and (ticks[0] / ticks[1]).denominator == 1:
        return Fraction(0)
    return Fraction(1, 1000)


def same_times(name, wanted, got, allowed):
    if len(wanted) != len(got):
        report(name, False, f"input has {len(wanted)}, output {len(got)}")
        return
    worst = max(((abs(a - b), i) for i, (a, b) in enumerate(zip(wanted, got))), default=(0, 0))
    report(name, worst[0] <= allowed,
           f"number {worst[1]}: input {float(wanted[worst[1]]) if wanted else 0:.9f} s, "
           f"output {float(got[worst[1]]) if got else 0:.9f} s, allowed {float(allowed):.9f} s")


def apart(times, tick):
    """Times as MP4 can hold them: of two packets with one time the second comes a tick later."""
    out = []
    for time in times:
        out.append(max(time, out[-1] + tick) if out and out[-1] >= time > out[-1] - 2 * tick else time)
    return out


def next_free(times, tick):
    """Times of frames as they can be told apart: one whose time is taken gets the next tick."""
    out, last = [], None
    for time in times:
        if time is not None:
            time = last = time if last is None or time > last else last + tick
        out.append(time)
    return out


def side(entries, kind):
    for entry in entries:
        if entry.get("side_data_type") == kind:
            return {k: Fraction(v.split(":")[0]) if isinstance(v, str) and "/" in v else v
                    for k, v in entry.items() if k != "side_data_type"}
    return None


def rotation(stream):
    found = side(stream.get("side_data_list", []), "Display Matrix")
    return (float(found.get("rotation", 0)) % 360) if found else 0.0


def ratio(text):
    if text in (None, "N/A", "0:1"):
        return Fraction(1)  # unknown: players use square pixels
    num, den = text.split(":")
    return Fraction(int(num), int(den))


def check_ratio(a, b, new):
    wanted, got = ratio(a.get("sample_aspect_ratio")), ratio(b.get("sample_aspect_ratio"))
    # Matroska stores the width at which to show the picture, in whole pixels.
    shown = Fraction(int(a["width"] * wanted + Fraction(1, 2)), a["width"])
    report("video sample aspect ratio", got == wanted or new["matroska"] and got == shown,
           f"input {wanted}, output {got}")


def is_rgb(stream):
    return stream.get("pix_fmt", "").startswith(RGB)


def chroma_location(stream):
    """Where chroma lies, as far as the pixel format leaves it open."""
    location = stream.get("chroma_location", "unspecified")
    if "444" in stream.get("pix_fmt", "") or is_rgb(stream):
        return "unspecified"
    if "422" in stream.get("pix_fmt", ""):  # rows are whole: only left and centre differ
        return {"topleft": "left", "bottomleft": "left", "top": "center",
                "bottom": "center"}.get(location, location)
    return location


def check_colour(a, b):
    for key in ("color_space", "color_primaries", "color_transfer"):
        if key == "color_space" and is_rgb(a) and not is_rgb(b):
            # RGB has no matrix of its own; what is made YUV of it must name one.
            report(f"video {key}", b.get(key, "unknown") in ("bt709", "smpte170m", "bt470bg"),
                   f"RGB became YUV of matrix {b.get(key, 'unknown')}")
            continue
        equal(f"video {key}", a.get(key, "unknown"), b.get(key, "unknown"))
    if is_rgb(a) and not is_rgb(b):
        # RGB is always full range; how its YUV is coded is the writer's choice, but must be said.
        report("video color_range", b.get("color_range") in ("tv", "pc"), "RGB became YUV of any range")
        return
    wanted, got = a.get("color_range", "unknown"), b.get("color_range", "unknown")
    # Unknown means limited (H.264 E.2.1), so writing that down changes nothing.
    report("video color_range", wanted == got or (wanted, got) == ("unknown", "tv"),
           f"input {wanted}, output {got}")
    wanted, got = chroma_location(a), chroma_location(b)
    # H.264 cannot leave it open: libav reports "left" where nothing is written (H.264 E.2.1).
    report("video chroma_location", wanted == got or wanted == "unspecified" or got == "unspecified",
           f"input {wanted}, output {got}")


def in_range(times, options):
    """Those from --from to --to; a frame without a time is where the one before it is."""
    origin = next((t for t in times if t is not None), Fraction(0))
    lo = Fraction(options.start or "0")
    hi = Fraction(options.end) if options.end else None
    kept, inside = [], False
    for time in times:
        if time is not None:
            inside = time - origin >= lo and (hi is None or time - origin < hi)
        if inside:
            kept.append(time)
    return kept


def check_video(old, new, a, b, options):
    old_times, old_side = frames(old, a)
    new_times, _ = frames(new, b)
    shift = Fraction(options.shift)
    if options.start is not None or options.end is not None:
        old_times = in_range(old_times, options)
    equal("video frames", len(old_times), len(new_times))
    report("video has frames", bool(new_times), "none can be decoded")
    old_times = next_free(old_times, base(a))
    report("video frames have times", None not in new_times, "some have none")
    timed = [i for i, t in enumerate(old_times) if t is not None and i < len(new_times)]
    same_times("video timestamps", [old_times[i] + shift for i in timed],
               [new_times[i] for i in timed], tolerance(a, b, old, new))
    # Frames without a time of their own must still come in their order.
    report("video times ascend", None in new_times or
           all(x < y or x == y and new["matroska"] for x, y in zip(new_times, new_times[1:])),
           "two frames change places")  # Matroska's ticks may hold two frames
    if options.frames_only:
        return
    if options.size:
        equal("video size", options.size, f"{b['width']}x{b['height']}")
    else:
        equal("video size", (a["width"], a["height"]), (b["width"], b["height"]))
        check_ratio(a, b, new)
    equal("video rotation", rotation(a), rotation(b))
    check_colour(a, b)
    for kind in ("Mastering display metadata", "Content light level metadata"):
        # The input may say it in the bitstream alone; the output must say it in the container.
        wanted = side(a.get("side_data_list", []), kind) or side(old_side, kind)
        equal(f"video {kind}", wanted, side(b.get("side_data_list", []), kind))
    check_labels("video", a, b)


def check_default(name, kept, new, a, b):
    if new["format"]["format_name"] == "mpegts":
        return  # has no such flag
    kind = [s["disposition"].get("default") for s in kept if s["codec_type"] == a["codec_type"]]
    if not new["matroska"] and not any(kind):
        return  # MP4 always enables one track of each kind
    equal(f"{name} disposition default", a["disposition"].get("default", 0),
          b["disposition"].get("default", 0))


def check_labels(name, a, b):
    old_tags = {k.lower(): v for k, v in a.get("tags", {}).items()}
    new_tags = {k.lower(): v for k, v in b.get("tags", {}).items()}
    old_language, new_language = (tags.get("language", "und") for tags in (old_tags, new_tags))
    equal(f"{name} language", LANGUAGES.get(old_language, old_language),
          LANGUAGES.get(new_language, new_language))
    # ffprobe does not read the title of an MP4 track, which players show from its handler's name.
    titles = (new_tags.get("title", ""), new_tags.get("handler_name", ""))
    report(f"{name} title", old_tags.get("title", "") in titles or not old_tags.get("title"),
           f"input {old_tags.get('title')!r}, output {titles!r}")
    for key in ("forced", "attached_pic", "hearing_impaired", "comment"):
        equal(f"{name} disposition {key}", a["disposition"].get(key, 0), b["disposition"].get(key, 0))


def subtitle_text(media, stream):
    done = subprocess.run(["ffmpeg", "-v", "error", "-copyts", "-i", f"file:{media['path']}",
                           "-map", f"0:{stream['index']}", "-f", "srt", "-"], capture_output=True)
    return done.stdout.decode(errors="replace")


def check_copied(old, new, a, b, options):
    name = f"stream {a['index']} ({a['codec_type']})"
    both_text = {a.get("codec_name"), b.get("codec_name")} <= TEXT_SUBTITLES
    if both_text and a.get("codec_name") != b.get("codec_name"):
        report(f"{name} converted", True)
        if options.start is None and options.end is None and Fraction(options.shift) == 0:
            equal(f"{name} text", subtitle_text(old, a), subtitle_text(new, b))
        check_labels(name, a, b)
        return
    # MP4 has one number for both layers of MPEG-1 audio; the packets' hashes tell.
    layers = {"mp2", "mp3"} if not new["matroska"] else set()
    report(f"{name} codec", a.get("codec_name") == b.get("codec_name") or
           {a.get("codec_name"), b.get("codec_name")} == layers,
           f"input {a.get('codec_name')!r}, output {b.get('codec_name')!r}")
    old_packets, new_packets = old["packets"][a["index"]], new["packets"][b["index"]]
    if a["codec_type"] == "subtitle":  # MP4 needs empty samples between texts; Matroska has none
        old_packets = [p for p in old_packets if int(p["size"]) > 2]
        new_packets = [p for p in new_packets if int(p["size"]) > 2]
    if a["codec_type"] == "attachment":
        equal(f"{name} file name", a["tags"].get("filename"), b.get("tags", {}).get("filename"))
        equal(f"{name} size", a.get("extradata_size"), b.get("extradata_size"))
        return
    if has_start_codes(old, a) != has_start_codes(new, b):
        report(f"{name} pictures", picture_hashes(old, a) == picture_hashes(new, b), "they differ")
        check_labels(name, a, b)
        return
    hashes = packet_hashes(old, a, old_packets, has_adts(old, a) and not has_adts(new, b))
    cut = packet_hashes(new, b, new_packets, has_adts(new, b) and not has_adts(old, a))
    if options.start is not None or options.end is not None:
        starts = range(len(hashes) - len(cut) + 1)  # packets of one tone may be alike
        report(f"{name} packets", any(hashes[at:at + len(cut)] == cut for at in starts),
               "the output's packets are no contiguous part of the input's")
    else:
        equal(f"{name} packet count", len(old_packets), len(new_packets))
        report(f"{name} packet hashes", hashes == cut, "bytes differ")
        if not is_cover(a):
            wanted = [int(p["pts"]) * base(a) + Fraction(options.shift) for p in old_packets
                      if "pts" in p]
            if not new["matroska"] and a["codec_type"] == "audio":
                wanted = apart(wanted, base(b))
            same_times(f"{name} timestamps", wanted,
                       [int(p["pts"]) * base(b) for p in new_packets if "pts" in p],
                       tolerance(a, b, old, new))
    check_labels(name, a, b)


def check_chapters(old, new, options):
    if options.start is not None or options.end is not None:
        return
    shift = float(Fraction(options.shift))

    def listed(media, add):
        return [(round(float(c["start_time"]) + add, 2), c.get("tags", {}).get("title", ""))
                for c in media["chapters"]]
    equal("chapters", listed(old, shift), listed(new, 0.0))


def is_outside(media, a, stream, options):
    """Whether a range was asked for in which the stream has no packet."""
    if options.start is None and options.end is None:
        return False
    origin = min((Fraction(int(p["pts"])) * base(a) for p in media["packets"][a["index"]]
                  if "pts" in p), default=Fraction(0))
    lo = origin + Fraction(options.start or "0")
    hi = origin + Fraction(options.end) if options.end else None
    for packet in media["packets"][stream["index"]]:
        begin = int(packet.get("pts", packet.get("dts", 0))) * base(stream)
        if begin >= lo and (hi is None or begin < hi):
            return False
    return True


def check_tags(old, new):
    wanted = {k.lower(): v for k, v in old["format"].get("tags", {}).items()}
    got = {k.lower(): v for k, v in new["format"].get("tags", {}).items()}
    for key in sorted(set(wanted) - OLD_CONTAINER_TAGS):
        if key.split("-")[0] in wanted and "-" in key:
            continue  # a translation of a tag that is itself there
        equal(f"tag {key}", wanted[key], got.get(key))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--shift", default="0", metavar="S",
                        help="seconds (a number or a fraction) added to every timestamp")
    parser.add_argument("--from", dest="start", metavar="T", help="as given to atelier run")
    parser.add_argument("--to", dest="end", metavar="T", help="as given to atelier run")
    parser.add_argument("--size", metavar="WxH", help="expected size where it is not the input's")
    parser.add_argument("--stream", type=int, metavar="N",
                        help="the scored stream of the input (default: ffmpeg's own choice)")
    parser.add_argument("--dropped", default="", metavar="N,N",
                        help="streams of the input that the output container cannot hold")
    parser.add_argument("--frames-only", action="store_true",
                        help="only the number and timestamps of the video's frames")
    options = parser.parse_args()
    # A floating-point number stands for the fraction that a container's ticks make.
    options.shift = Fraction(options.shift).limit_denominator(1_000_000)
    old, new = load(options.input), load(options.output)
    a = scored_stream(old, options.stream)
    dropped = {int(n) for n in options.dropped.split(",") if n}
    # Chapters stored as a text track, and time codes, are written anew by the muxer.
    ours = [s for s in new["streams"] if s["codec_type"] != "data"
            or s.get("codec_tag_string") not in ("text", "tmcd")]
    kept = [s for s in old["streams"] if s["index"] not in dropped and
            (s["codec_type"] != "data" or s.get("codec_tag_string") not in ("text", "tmcd"))]
    # Covers and attachments stand at the end of a Matroska or MP4 file, wherever they stood before.
    order = lambda s: (2 if s["codec_type"] == "attachment" else 1 if is_cover(s) else 0, s["index"])
    ours.sort(key=order)
    kept.sort(key=order)
    if not new["matroska"]:  # MP4 has no track without a sample
        kept = [s for s in kept if s is a or s["codec_type"] == "attachment" or is_cover(s) or
                not is_outside(old, a, s, options)]
    equal("number of streams", len(kept), len(ours))
    position = [s["index"] for s in kept].index(a["index"])
    if position >= len(ours) or ours[position]["codec_type"] != "video":
        report("video stream in its place", False, f"output stream {position} is not a video")
        return 1
    check_video(old, new, a, ours[position], options)
    if not options.frames_only:
        for x, y in zip(kept, ours):
            check_default(f"stream {x['index']}", kept, new, x, y)
            if x is not a:
                check_copied(old, new, x, y, options)
        check_chapters(old, new, options)
        check_tags(old, new)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
