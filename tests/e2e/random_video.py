# SPDX-License-Identifier: Apache-2.0
"""Random small videos, made by the ffmpeg program from a seed.

A Recipe is a list of ffmpeg commands and what the result is called; the same seed gives the same
recipe. ffmpeg refuses some combinations (an encoder's least size, a codec that a muxer does not
take): such a recipe is not made, which is no fault of the program under test. So that fixed seeds
stay useful, what is known to be refused is not asked for.
"""

import dataclasses
import pathlib
import random
import re
import shlex
import subprocess

YUV8 = ["yuv420p", "yuv422p", "yuv444p"]
YUV10 = ["yuv420p10le", "yuv422p10le", "yuv444p10le"]
YUV12 = ["yuv420p12le", "yuv422p12le", "yuv444p12le"]
FULL = ["yuvj420p", "yuvj422p", "yuvj444p"]

# What an encoder takes: its options, pixel formats, containers, least size, a multiple that sizes
# must keep, whether it knows B-frames, whether its frames may lie anywhere in time.
CODECS = {
    "libx264": dict(options=["-preset", "ultrafast"], formats=YUV8 + YUV10 + ["gray", "yuvj420p"],
                    containers=["mp4", "mov", "mkv", "avi", "ts", "flv", "3gp"], b_frames=True),
    "libx265": dict(options=["-preset", "ultrafast"], formats=YUV8 + YUV10 + YUV12 + ["gray"],
                    containers=["mp4", "mov", "mkv", "ts"], least=16, b_frames=True),
    "mpeg4": dict(options=["-q:v", "4"], formats=["yuv420p"], b_frames=True,
                  containers=["mp4", "mov", "mkv", "avi", "ts", "3gp"]),
    "mpeg2video": dict(options=["-q:v", "4"], formats=["yuv420p", "yuv422p"], b_frames=True,
                       containers=["ts", "mkv", "mpg", "mov", "mxf"], rates=["25", "30000/1001", "50"],
                       steady=True, least=16),
    "mpeg1video": dict(options=["-q:v", "4"], formats=["yuv420p"], containers=["ts", "mkv", "mpg"],
                       rates=["25", "30", "24000/1001"], steady=True, b_frames=True, least=16),
    "libvpx": dict(options=["-cpu-used", "8", "-deadline", "realtime"], formats=["yuv420p"],
                   containers=["webm", "mkv"], hidden=True),
    "libvpx-vp9": dict(options=["-cpu-used", "8", "-deadline", "realtime"],
                       formats=YUV8 + YUV10 + YUV12, containers=["webm", "mkv", "mp4"], hidden=True),
    "libsvtav1": dict(options=["-preset", "12"], formats=["yuv420p", "yuv420p10le"], least=64,
                      multiple=2, containers=["mp4", "mkv", "webm"]),
    "libaom-av1": dict(options=["-cpu-used", "8", "-usage", "realtime"],
                       formats=YUV8 + ["yuv420p10le", "yuv444p12le"], least=16,
                       containers=["mp4", "mkv", "webm"]),
    "prores_ks": dict(options=[], formats=["yuv422p10le", "yuv444p10le"], containers=["mov", "mkv"]),
    "mjpeg": dict(options=["-q:v", "3"], formats=FULL, containers=["avi", "mov", "mkv", "mp4"]),
    "ffv1": dict(options=[], formats=YUV8 + YUV10 + YUV12 + ["gray", "gray10le", "yuv411p", "yuv440p",
                                                            "bgra", "gbrp", "yuva420p"],
                 containers=["mkv", "avi"]),
    "huffyuv": dict(options=[], formats=["yuv422p", "rgb24"], containers=["avi", "mkv"], multiple=4),
    "utvideo": dict(options=[], formats=["yuv420p", "yuv444p", "gbrp"], containers=["avi", "mkv"],
                    multiple=2),
    "png": dict(options=[], formats=["rgb24", "gray", "rgba", "pal8"], containers=["mov", "mkv"]),
    "qtrle": dict(options=[], formats=["rgb24", "gray"], containers=["mov"], multiple=4),
    "rawvideo": dict(options=[], formats=["yuv420p", "yuyv422", "rgb24"], containers=["avi", "mov"],
                     multiple=4, steady=True),
    "cinepak": dict(options=[], formats=["rgb24"], containers=["avi", "mov"], multiple=4, least=16),
    "libtheora": dict(options=["-q:v", "6"], formats=YUV8, containers=["mkv", "ogg"], least=16,
                      multiple=2),
    "flv1": dict(options=["-q:v", "4"], formats=["yuv420p"], containers=["flv"], multiple=2),
    "h263": dict(options=["-q:v", "4"], formats=["yuv420p"], containers=["3gp", "mov"],
                 sizes=["128x96"]),
    "wmv2": dict(options=["-q:v", "4"], formats=["yuv420p"], containers=["avi", "asf"], multiple=2),
    "msmpeg4": dict(options=["-q:v", "4"], formats=["yuv420p"], containers=["avi", "mkv"], multiple=2),
    "dnxhd": dict(options=["-profile:v", "dnxhr_sq"], formats=["yuv422p"], sizes=["256x120", "258x122"],
                  containers=["mov", "mxf"]),
    "gif": dict(options=[], formats=["bgr8", "gray"], containers=["gif"], silent=True),
}
COMMON = ["libx264"] * 6 + ["libx265"] * 2 + ["libvpx-vp9"] * 2 + ["mpeg4", "ffv1"]

SOUNDS = {
    "mp4": ["aac", "libmp3lame", "ac3", "alac", "libopus"], "mov": ["aac", "pcm_s16le", "alac"],
    "3gp": ["aac"], "mkv": ["aac", "libvorbis", "libopus", "flac", "pcm_s16le", "ac3", "libmp3lame"],
    "webm": ["libvorbis", "libopus"], "avi": ["libmp3lame", "pcm_s16le", "ac3"],
    "ts": ["aac", "mp2", "ac3"], "flv": ["aac", "libmp3lame"], "mpg": ["mp2", "ac3"],
    "mxf": ["pcm_s16le"], "asf": ["wmav2"], "ogg": ["libvorbis", "flac"], "gif": [],
}
TEXTS = {"mp4": ["mov_text"], "mov": ["mov_text"], "mkv": ["srt", "ass", "webvtt"], "webm": ["webvtt"]}
SECONDS_FORMS = ["1.0*N/({rate})", "N/({rate})+0.004*mod(N*N\\,7)", "N/({rate})+gt(N\\,{half})*1.3",
                 "(N+floor(N/3))/({rate})", "0.001*N*(N+40)", "N/({rate})+0.9*(1-exp(-N))"]


@dataclasses.dataclass
class Recipe:
    seed: int
    codec: str
    pixel_format: str
    container: str
    commands: list  # of arguments after `ffmpeg`; paths are relative to the folder
    files: dict  # small files that the commands read: name -> text
    name: str  # of the result
    seconds: float  # about how long it shows
    frames: int

    def text(self):
        return "\n".join("ffmpeg " + shlex.join(command) for command in self.commands)

    def make(self, folder):
        """The video, or None with the reason when ffmpeg refuses it."""
        folder = pathlib.Path(folder)
        for name, text in self.files.items():
            (folder / name).write_text(text)
        for command in self.commands:
            done = subprocess.run(["ffmpeg", *command], cwd=folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
            if done.returncode:
                return None, done.stderr.decode(errors="replace").strip()[-300:]
        # Some of ffmpeg's own encoders make what its decoders cannot read again.
        seen = subprocess.run(["ffprobe", "-v", "error", "-show_frames", self.name], cwd=folder,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        if seen.returncode or not seen.stdout:
            return None, f"ffprobe cannot read it: {seen.stderr.decode(errors='replace')[-200:]}"
        return folder / self.name, ""


class Maker:
    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.files = {}

    def some(self, probability):
        return self.chance.random() < probability

    def size(self, facts):
        if "sizes" in facts:
            return self.chance.choice(facts["sizes"])
        multiple, least = facts.get("multiple", 1), facts.get("least", 1)
        form = self.chance.randrange(8)
        if form == 0:
            width, height = least, least
        elif form == 1:
            width, height = self.chance.randint(1, 9), self.chance.randint(1, 9)
        elif form == 2:
            width, height = self.chance.choice([(16, 16), (64, 48), (32, 64), (120, 90)])
        else:
            width, height = self.chance.randint(1, 120), self.chance.randint(1, 90)

        def fit(n):
            return max(least, multiple, n // multiple * multiple)
        return f"{fit(width)}x{fit(height)}"

    def even(self, size, codec, pixel_format):
        """x264 and x265 code whole chroma samples only; MPEG-2's chroma wants two by two."""
        if codec not in ("libx264", "libx265", "mpeg2video", "mpeg1video"):
            return size
        width, height = map(int, size.split("x"))
        if any(s in pixel_format for s in ("420", "422")):
            width += width % 2
        if "420" in pixel_format:
            height += height % 2
        return f"{width}x{height}"

    def timing(self, facts, frames):
        """(source rate, filter of times or "", options)"""
        rates = facts.get("rates", ["25", "24", "30", "50", "10", "1", "24000/1001", "30000/1001",
                                    "60000/1001", "120", "12.5"])
        rate = self.chance.choice(rates)
        if facts.get("steady") or self.some(0.55):
            return rate, "", []
        ticks = self.chance.choice([1000, 600, 90000, 30000, 12800, 25])
        form = self.chance.choice(SECONDS_FORMS).format(rate=rate, half=frames // 2)
        late = self.chance.choice([0, 0, 0.35, 2, 7.3])
        # At least one tick between two frames: ffmpeg drops the second of two with one time.
        times = f",settb=1/{ticks},setpts='max(N\\,floor(({form}+{late})*{ticks}))'"
        options = ["-fps_mode", "passthrough", "-enc_time_base:v:0", f"1/{ticks}"]
        return rate, times, options

    def coding(self, codec, facts):
        options = []
        gop = self.chance.choice([1, 2, 5, 12, 250, 250])
        if codec not in ("prores_ks", "mjpeg", "rawvideo", "png", "huffyuv", "dnxhd", "gif"):
            options += ["-g", str(gop)]
        b_frames = self.chance.choice([0, 1, 2, 3]) if facts.get("b_frames") else 0
        if codec == "libx264":
            extra = [f"keyint={gop}", f"bframes={b_frames}", "min-keyint=1"]
            if self.some(0.25):
                extra += ["open-gop=1"]
            elif self.some(0.2):
                extra += ["intra-refresh=1", "bframes=0"]
            extra += self.chance.choice([["b-pyramid=strict"], ["b-pyramid=normal"], ["scenecut=0"],
                                         ["slices=3"], []])
            options += ["-x264-params", ":".join(extra)]
        elif codec == "libx265":
            options += ["-x265-params",
                        f"log-level=error:keyint={gop}:bframes={b_frames}:min-keyint=1:"
                        f"open-gop={int(self.some(0.5))}:pools=1:frame-threads=1"]
        elif b_frames and codec in ("mpeg4", "mpeg2video", "mpeg1video"):
            options += ["-bf", str(min(b_frames, 2))]
        if facts.get("hidden") and self.some(0.5):
            options += ["-auto-alt-ref", "1", "-lag-in-frames", "12", "-deadline", "good"]
        return options

    def colour(self, codec):
        options = []
        if self.some(0.5):
            matrix = self.chance.choice(["bt709", "smpte170m", "bt470bg", "bt2020nc"])
            options += ["-colorspace", matrix]
        if self.some(0.4):
            options += ["-color_primaries", self.chance.choice(["bt709", "smpte170m", "bt2020"]),
                        "-color_trc", self.chance.choice(["bt709", "smpte2084", "arib-std-b67"])]
        # VP8 says in each frame that it is limited, whatever the container says.
        if self.some(0.4) and codec != "libvpx":
            options += ["-color_range", self.chance.choice(["tv", "pc"])]
        if self.some(0.2):
            options += ["-chroma_sample_location", self.chance.choice(["left", "center", "topleft"])]
        return options

    def others(self, container, seconds):
        """Inputs and options of every stream but the video."""
        inputs, maps, options, at = [], [], [], 1
        sounds = SOUNDS[container]
        most = 0 if not sounds else 1 if container == "flv" else 2
        for number in range(min(most, self.chance.choice([0, 1, 1, 1, 2]))):
            length = max(0.05, seconds * self.chance.choice([0.3, 0.9, 1, 1, 1.1, 2.5]))
            if self.some(0.25):
                inputs += ["-itsoffset", self.chance.choice(["0.2", "0.61", "1.7"])]
            inputs += ["-f", "lavfi", "-i",
                       f"sine=frequency={330 * (number + 1)}:duration={length:.3f}:sample_rate=48000"]
            maps += ["-map", str(at)]
            codec = self.chance.choice(sounds)
            options += [f"-c:a:{number}", codec]
            if self.some(0.5):
                options += [f"-metadata:s:a:{number}", "language=" +
                            self.chance.choice(["deu", "fra", "jpn"])]
            at += 1
        if container in TEXTS and self.some(0.25):
            self.files["s.srt"] = "1\n00:00:00,010 --> 00:00:00,300\nHello\n\n" \
                                  "2\n00:00:00,400 --> 00:00:01,000\nGrüße, <i>Welt</i>\n"
            inputs += ["-i", "s.srt"]
            maps += ["-map", str(at)]
            options += ["-c:s", self.chance.choice(TEXTS[container])]
            at += 1
        if container in ("mkv", "mp4", "mov", "webm") and self.some(0.2):
            self.files["c.txt"] = ";FFMETADATA1\ntitle=A title; with \\= signs\nartist=Nobody\n" \
                "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=First\n" \
                "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=900\ntitle=Second\n"
            inputs += ["-i", "c.txt"]
            options += ["-map_metadata", str(at)]
            at += 1
        if container == "mkv" and self.some(0.15):
            self.files["font.ttf"] = "no font" * 50
            options += ["-attach", "font.ttf", "-metadata:s:t", "mimetype=application/x-truetype-font"]
        if container in ("mkv", "mp4", "ts") and self.some(0.12):
            inputs += ["-f", "lavfi", "-i", f"testsrc=size=32x16:rate=10:duration={max(0.2, seconds):.3f}"]
            maps += ["-map", f"{at}:v"]
            options += ["-c:v:1", "mpeg4", "-pix_fmt:v:1", "yuv420p"]
            at += 1
        return inputs, maps, options

    def second_step(self, container, seconds):
        """A copy of the coded video: cut, turned, fragmented. None: the first result stands."""
        kind = self.chance.randrange(7)
        # The track of chapter titles is the muxer's own: copied as well, it is refused.
        copy = ["-map", "0", "-map", "-0:d?", "-c", "copy"]
        if kind == 0 and seconds > 0.2 and container in ("mp4", "mov", "mkv", "ts"):
            return ["-ss", f"{seconds * self.chance.choice([0.3, 0.5]):.3f}"], copy
        if kind == 1 and container in ("mp4", "mov"):
            return [], copy + ["-metadata:s:v:0", "rotate=" + self.chance.choice(["90", "180", "270"])]
        if kind == 2 and container in ("mp4", "mov"):
            return [], copy + ["-movflags", self.chance.choice([
                "+frag_keyframe+empty_moov", "+frag_every_frame+empty_moov+default_base_moof",
                "+faststart", "+frag_keyframe+separate_moof", "+negative_cts_offsets"])]
        if kind == 3 and container in ("ts", "mkv", "mp4"):
            return [], copy + ["-output_ts_offset", self.chance.choice(["1.1", "7.3", "95000"])]
        return None

    def recipe(self):
        codec = self.chance.choice(COMMON if self.some(0.5) else sorted(CODECS))
        facts = CODECS[codec]
        pixel_format = self.chance.choice(facts["formats"])
        container = self.chance.choice(facts["containers"])
        frames = self.chance.choice([1, 2, 3, self.chance.randint(4, 40), self.chance.randint(4, 40)])
        rate, times, time_options = self.timing(facts, frames)
        size = self.even(self.size(facts), codec, pixel_format)
        seconds = frames / (eval_rate(rate))
        picture = f"testsrc2=size=128x96:rate={rate}:duration={seconds + 2:.3f},trim=end_frame={frames}"
        if self.some(0.3):
            picture += ",noise=alls=25:allf=t"
        picture += f",scale={size.replace('x', ':')}:flags=area,format={pixel_format}{times}"
        if self.some(0.3):
            picture += ",setsar=" + self.chance.choice(["4/3", "64/45", "1/1", "1/2", "0"])
        inputs, maps, options = self.others(container, seconds) if not facts.get("silent") \
            else ([], [], [])
        start = ["-v", "error", "-y", "-bitexact", "-threads", "1"]
        first = start + ["-f", "lavfi", "-i", picture, *inputs, "-map", "0", *maps,
                         "-c:v:0", codec, *facts["options"], "-pix_fmt:v:0", pixel_format,
                         "-strict", "experimental", *self.coding(codec, facts), *self.colour(codec),
                         *time_options, *options]
        again = self.second_step(container, seconds)
        if again and any(re.search(r"^[1-9]|bframes=[1-9]", first[at + 1]) for at, word in
                         enumerate(first) if word in ("-bf", "-x264-params", "-x265-params")):
            # ffmpeg gives frames of a film with B-frames each other's times in fragments of one.
            again = again[0], [word.replace("every_frame", "keyframe") for word in again[1]]
        name = f"in.{container}"
        if again:
            commands = [first + [f"whole.{container}"],
                        start + again[0] + ["-i", f"whole.{container}"] + again[1] + [name]]
        else:
            commands = [first + [name]]
        return Recipe(self.seed, codec, pixel_format, container, commands, self.files, name, seconds,
                      frames)


def eval_rate(rate):
    number, _, divisor = rate.partition("/")
    return float(number) / float(divisor or 1)


def recipe(seed):
    return Maker(seed).recipe()


def job_options(seed, made):
    """(options of `atelier run`, container) for the video of `made`; drawn apart from the recipe."""
    chance = random.Random(f"job {seed}")
    step = made.seconds / made.frames
    chunk = chance.choice([0.001, step, 2 * step, made.seconds / 3, 0.3, 4])
    options = ["--chunk-seconds", f"{min(max(chunk, 0.001), 86400):.4f}"]
    codec = chance.choice(["ffv1", "ffv1", "libx264"])
    container = "mkv" if codec == "ffv1" else chance.choice(["mp4", "mkv", "mov"])
    options += ["--codec", codec] + (["--preset", "ultrafast"] if codec == "libx264" else [])
    if made.container == "avi":
        # AVI stores no times of presentation: with B-frames, which frame comes first is a guess.
        return options, container
    if chance.random() < 0.2:
        begin = made.seconds * chance.choice([0, 0.25, 0.5])
        options += ["--from", f"{begin:.3f}"]
        if chance.random() < 0.5:
            options += ["--to", f"{begin + made.seconds * chance.choice([0.2, 0.5]) + 0.001:.3f}"]
    elif chance.random() < 0.1:
        options += ["--to", f"{made.seconds * 0.6:.3f}"]
    return options, container
