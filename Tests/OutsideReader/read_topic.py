#!/usr/bin/env python3
# This source file is part of the DiskQueue project.
# SPDX-License-Identifier: Apache-2.0
"""Read one topic directory from its earliest record to the end of its log.

Usage: read_topic.py DIRECTORY

This program knows nothing of DiskQueue except the page FileFormat.md. Each comment such as
"R7" names the rule of that page that the code follows.
"""

import bisect
import ctypes
import json
import os
import re
import stat
import struct
import sys
from collections import Counter, namedtuple

MAGIC = b"\x89DQSLAB\n"  # S2
HEADER_SIZE = 80  # S2
MARK_SIZE = 48  # M1
MARK_WORD = 0xFFFF_FFFF  # F1
LARGEST_LENGTH = 0xFFFF_FFEF  # F2, F3: the length words above this one are reserved
POSITION_BITS = 40  # A1
MASK64 = (1 << 64) - 1
SEARCHED_PAYLOAD = 64 * 1024  # D5
ALWAYS_TRIED_PAYLOAD = 1024  # D13
LEAST_BUDGET = 1 << 30  # D13
VOTERS_PER_END = 16  # R4
EIGHT_ZEROS = bytes(8)  # F5
NOT_ZERO = re.compile(rb"[^\x00]")
SLAB_NAME = re.compile(r"([0-9]{20})\.slab", re.ASCII)  # L1


# ---------------------------------------------------------------------------------------------
# Hashes (T2, T3, Q2)

_xxhash = ctypes.CDLL("libxxhash.so.0")
_hash64 = _xxhash.XXH3_64bits_withSeed
_hash64.restype = ctypes.c_uint64
_hash64.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64]
_hash32 = _xxhash.XXH32
_hash32.restype = ctypes.c_uint32
_hash32.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32]


def checksum_of(hash_value):
    """T3: the low 32 bits of a hash. If these bits are 0, the checksum is 1."""
    return (hash_value & 0xFFFF_FFFF) or 1


# ---------------------------------------------------------------------------------------------
# Addresses

def epoch_of(address):
    """A1: the upper 24 bits are the epoch."""
    return address >> POSITION_BITS


def end_of_epoch(epoch):
    """A1, A7: an epoch ends where the next one begins, and the last one ends at 2^64 - 1."""
    return min((epoch + 1) << POSITION_BITS, MASK64)


# ---------------------------------------------------------------------------------------------
# The parts of a slab

Header = namedtuple("Header", "kind largest ordinal synced kept topic")
Mark = namedtuple("Mark", "address end ordinal synced kept topic")
Record = namedtuple("Record", "address end length")
UNSOUND = Header("unsound", 0, 0, 0, 0, 0)  # S5
NEWER = Header("newer", 0, 0, 0, 0, 0)  # S4: nothing else of it is believed


def is_believed(mark):
    """M5: no search believes a mark that states a `synced` above its own end."""
    return mark.synced <= mark.end


def is_closing(mark):
    """M3: a closing mark states its own end as `synced`."""
    return mark.synced == mark.end


class Slab:
    """One slab file, its bytes, and what the other rules find out about it."""

    def __init__(self, base, data):
        self.base = base
        self.data = data
        self._pointer = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        self.epoch = epoch_of(base)
        self.file_end = base + len(data)  # T5: may be above 2^64, Python does not wrap (T6)
        # T7: the slab's end. The content may end before it (R14).
        self.end = min(self.file_end, end_of_epoch(self.epoch))
        self.version = 2  # R7, set later
        self.frame_bias = 0  # Q3, set later: 0 for a length word n, 4 for 4 + n
        self.header = self._judge_header()
        self.own = False  # R8, set later
        self.marks = []  # R9, set later
        self.mark_addresses = []
        self.limit = None  # R13, set later
        self.content_end = self.end  # R14, set later
        self.passed_over = False  # R15, set later
        self.vain_search = 0  # D13: bytes that D5 hashed in vain
        self.vain_marks = 0  # D13: the same for R9

    # Bytes and hashes. Callers bound all offsets and lengths first (F8).

    def hash64(self, offset, length, seed):
        return _hash64(self._pointer + offset, length, seed)

    def hash32(self, offset, length):
        return _hash32(self._pointer + offset, length, 0)

    def budget(self):
        """D13: 1,024 bytes for each byte of the slab, and at least 1 GiB."""
        return max(LEAST_BUDGET, 1024 * len(self.data))

    def after_zeros(self, address):
        """F5: the first address at or after this one at which eight bytes are not all zero."""
        offset = address - self.base
        if self.data[offset:offset + 8] != EIGHT_ZEROS:
            return address
        match = NOT_ZERO.search(self.data, offset)
        return self.base + match.start() - 7 if match else self.file_end

    # Header

    def _judge_header(self):
        """S3, S4, S5: judge the first 80 bytes by themselves."""
        if len(self.data) < HEADER_SIZE or self.data[:8] != MAGIC:
            return UNSOUND
        (version, flags, largest, base, ordinal, _stamp, synced, kept, _unused, topic,
         stored) = struct.unpack_from("<HHI8Q", self.data, 8)
        if self.hash64(0, 72, 0) != stored:
            return UNSOUND
        if version != 2 or flags != 0:
            return NEWER
        if base != self.base or topic == 0:
            return UNSOUND
        return Header("sound", largest, ordinal, synced, kept, topic)

    # Frames of version 2

    def mark_at(self, address, end, topic=None):
        """M1, F6: the valid mark at an address, under the given id or under its own (R2)."""
        offset = address - self.base
        if address + MARK_SIZE > end:
            return None
        word, checksum, _stamp, ordinal, synced, kept, own_topic = struct.unpack_from(
            "<II5Q", self.data, offset)
        if word != MARK_WORD or own_topic == 0:
            return None
        if topic is not None and own_topic != topic:
            return None
        seed = ~(own_topic ^ address) & MASK64
        if checksum_of(self.hash64(offset + 8, 40, seed)) != checksum:
            return None
        return Mark(address, address + MARK_SIZE, ordinal, synced, kept, own_topic)

    def first_mark(self, topic=None):
        """M2: the mark at base + 80, under the given id or under its own."""
        return self.mark_at(self.base + HEADER_SIZE, self.end, topic)

    def largest_payload(self):
        """F6.1: from the own header, or else the size of the file."""
        largest = self.header.largest if self.own else len(self.data)
        return min(largest, LARGEST_LENGTH)

    def record_at(self, address, end, topic):
        """F2, F6: the valid record at an address, with its end at or before `end`."""
        if topic is None or address + 8 > end:  # R6: without an id nothing is valid
            return None
        offset = address - self.base
        length, checksum = struct.unpack_from("<II", self.data, offset)
        if length > self.largest_payload() or address + 8 + length > end:
            return None
        if checksum_of(self.hash64(offset + 8, length, topic ^ address)) != checksum:
            return None
        return Record(address, address + 8 + length, length)

    def frame_at(self, address, end, topic):
        """F1, F6: the valid frame at an address. The caller knows whether F7 holds."""
        if topic is None:  # R6
            return None
        return self.mark_at(address, end, topic) or self.record_at(address, end, topic)

    def begins_with(self, topic):
        """D2: the ordinal that the slab begins with, or None."""
        if self.version == 1:
            return None
        if self.own:
            return self.header.ordinal
        mark = self.first_mark(topic) if topic is not None else None
        return mark.ordinal if mark else None

    # Frames of version 1

    def old_record_at(self, address, end, bias):
        """Q2, Q4: the valid version 1 frame at an address. `bias` is 0 for n and 4 for 4 + n."""
        offset = address - self.base
        if address + 8 > end:
            return None
        word, checksum = struct.unpack_from("<II", self.data, offset)
        length = word - bias
        if length < 0 or address + 8 + length > end:
            return None
        if self.hash32(offset + 8, length) != checksum:
            return None
        return Record(address, address + 8 + length, length)

    def old_bias(self):
        """Q3: what the first frame says of the length word. If both readings fail, None."""
        for bias in (0, 4):
            if self.old_record_at(self.base, self.end, bias):
                return bias
        return None


# ---------------------------------------------------------------------------------------------
# Listing and opening

class Refused(Exception):
    """L3, R22, R25, R27: reading ends with an error, for a slab or for the directory (None)."""

    def __init__(self, base, text):
        super().__init__(text)
        self.base = base


def base_from_name(name):
    """L1: the base address in a slab's name, or None for any other name."""
    match = SLAB_NAME.fullmatch(name)
    if not match:
        return None
    base = int(match.group(1))
    return base if base <= MASK64 else None


def read_slab(directory, name, base):
    """L2, R27: read the whole file, and follow no link."""
    path = os.path.join(directory, name)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("not a regular file")
            return Slab(base, file.read())
    except OSError as error:
        raise Refused(base, f"system: {error.strerror or error}") from error


def is_neutral(name):
    """L3: a name that says nothing about whether a directory is a topic."""
    return name in ("consumers", "lost+found") or name.startswith(".")


def list_slabs(directory):
    """R1: the slabs of a directory, by base address."""
    names = os.listdir(directory)
    bases = ((base_from_name(name), name) for name in names)
    named = [(base, name) for base, name in bases if base is not None]
    if not named and "shards" in names:
        raise Refused(None, "notATopic: the directory holds shards")  # H11
    if not named and "lock" not in names and not all(map(is_neutral, names)):
        raise Refused(None, "notATopic: the directory holds other files")  # L3
    return [read_slab(directory, name, base) for base, name in sorted(named)]


# ---------------------------------------------------------------------------------------------
# The topic's id

def stated_id(slab):
    """R2: the id that a slab states, or None."""
    if slab.header.kind == "sound":
        return slab.header.topic
    mark = slab.first_mark()
    return mark.topic if mark else None


def vote(slabs):
    """R4: the id that most voters state, and the base of the lowest other voter (R25)."""
    voters = slabs
    if len(slabs) > 2 * VOTERS_PER_END:
        voters = slabs[:VOTERS_PER_END] + slabs[-VOTERS_PER_END:]
    stated = [(slab, stated_id(slab)) for slab in voters]
    stated = [(slab, topic) for slab, topic in stated if topic is not None]
    votes = Counter(topic for _, topic in stated)
    most = max(votes.values())
    # After a tie, the id at the lowest address wins: the voters are in the order of addresses.
    winner = next(topic for _, topic in stated if votes[topic] == most)
    loser = next(slab.base for slab, topic in stated if topic != winner)
    return winner, loser


def last_mark_under_any_id(slab):
    """R5: the last mark of a slab under the id that it holds itself. M5 holds."""
    offset = slab.data.rfind(b"\xff\xff\xff\xff")
    while offset >= 0:
        mark = slab.mark_at(slab.base + offset, slab.end)
        if mark and is_believed(mark):
            return mark
        offset = slab.data.rfind(b"\xff\xff\xff\xff", 0, offset + 3)
    return None


def searched_id(slabs):
    """R5: if no slab states an id, search all bytes, from the last slab back."""
    old = any(slab.epoch == 0 and slab.old_bias() is not None for slab in slabs)
    for slab in reversed(slabs):
        if slab.epoch == 0 and old:
            continue
        mark = last_mark_under_any_id(slab)
        if mark:
            return mark.topic
    return None  # R6


def find_topic_id(slabs):
    """R2 to R6: the topic's id or None. If a vote was held, also the slab of R25."""
    stated = [stated_id(slab) for slab in slabs]
    last = next((topic for topic in reversed(stated) if topic is not None), None)  # R3
    if last is None:
        return searched_id(slabs), None
    if stated[0] is not None and stated[0] != last:
        return vote(slabs)
    return last, None


# ---------------------------------------------------------------------------------------------
# Versions

def classify_epoch_zero(slabs):
    """R7, Q1, Q3: set the version of the slabs of epoch 0, and how to read their lengths."""
    old = [slab for slab in slabs if slab.epoch == 0]
    # Q1, first condition. A first mark counts here under the id that it holds itself.
    if any(slab.header.kind != "unsound" or slab.first_mark() for slab in old):
        return
    biases = [slab.old_bias() for slab in old]
    if all(bias is None for bias in biases):  # Q1, second condition
        return
    for index, slab in enumerate(old):
        slab.version = 1
        # Q3: its own first frame, the nearest one before, the nearest one after.
        order = biases[index::-1] + biases[index + 1:]
        slab.frame_bias = next(bias for bias in order if bias is not None)


# ---------------------------------------------------------------------------------------------
# Marks and statements

def find_marks(slab, topic):
    """R9: walk over the slab, and note the marks. F7 does not hold here."""
    marks = []
    if topic is None:
        return marks
    end = slab.end
    address = slab.base + (HEADER_SIZE if slab.own else 0)
    largest = slab.largest_payload()
    data, base = slab.data, slab.base
    unpack = struct.Struct("<I").unpack_from
    while address + 8 <= end:
        (word,) = unpack(data, address - base)
        frame = None
        if word == MARK_WORD:
            frame = slab.mark_at(address, end, topic)
            if frame:
                marks.append(frame)
        elif word <= largest and address + 8 + word <= end:
            if word <= ALWAYS_TRIED_PAYLOAD or slab.vain_marks <= slab.budget():
                frame = slab.record_at(address, end, topic)
                slab.vain_marks += 0 if frame or word <= ALWAYS_TRIED_PAYLOAD else word
        address = frame.end if frame else slab.after_zeros(address + 1)
    return marks


class Topic:
    """The slabs of a topic, and what its statements say about them."""

    def __init__(self, slabs):
        self.slabs = slabs
        self.id, self.voted_otherwise = find_topic_id(slabs)
        classify_epoch_zero(slabs)
        self._find_statements()
        self._find_bounds()
        self._find_limits()

    def _find_statements(self):
        """R8 to R11: own headers and marks state `synced` and `kept` at their addresses."""
        statements = []
        for slab in self.slabs:
            if slab.version == 1:  # R7
                continue
            slab.own = slab.header.kind == "sound" and slab.header.topic == self.id  # R8
            slab.marks = [m for m in find_marks(slab, self.id) if is_believed(m)]  # M5
            slab.mark_addresses = [mark.address for mark in slab.marks]
            if slab.own:
                statements.append((slab.base, slab.header.synced, slab.header.kept))
            statements.extend((m.address, m.synced, m.kept) for m in slab.marks)
        statements.sort()
        self.statements = statements
        self.highest_synced = max((s[1] for s in statements), default=0)  # R11
        self.taken_synced = 0  # R33
        self._addresses = [s[0] for s in statements]
        # The highest `synced` of a statement and all later ones, for R11.
        self._later_synced = [0] * (len(statements) + 1)
        for index in range(len(statements) - 1, -1, -1):
            self._later_synced[index] = max(statements[index][1], self._later_synced[index + 1])

    def is_proven(self, address):
        """R11: a statement above the address states a `synced` above the address. Or R33."""
        later = self._later_synced[bisect.bisect_right(self._addresses, address)]
        return max(later, self.taken_synced) > address

    def take(self, synced):
        """R33: reading took a mark or a header that states this `synced`."""
        self.taken_synced = max(self.taken_synced, synced)
        self.highest_synced = max(self.highest_synced, synced)

    def _find_bounds(self):
        """R12: the bound of an epoch is the lowest `kept` of all later epochs."""
        lowest = {}
        for address, _synced, kept in self.statements:
            epoch = epoch_of(address)
            lowest[epoch] = min(kept, lowest.get(epoch, kept))
        self.bounds = {}
        for epoch in {slab.epoch for slab in self.slabs}:
            later = [kept for other, kept in lowest.items() if other > epoch]
            self.bounds[epoch] = min(later, default=None)

    def _find_limits(self):
        """R13 to R15: the limit and the content of each slab, and which slabs count."""
        for slab, after in zip(self.slabs, self.slabs[1:] + [None]):
            bound = self.bounds[slab.epoch]
            limits = [] if bound is None else [bound]
            if after and after.epoch == slab.epoch:
                limits.append(after.base)
            slab.limit = min(limits, default=None)
            slab.content_end = min([slab.end] + limits)
            slab.passed_over = bound is not None and slab.base >= bound
        self.read_slabs = [slab for slab in self.slabs if not slab.passed_over]
        for index, slab in enumerate(self.read_slabs):
            slab.position = index

    def slabs_after(self, slab):
        """R15: the next slab and those after it, without those that are passed over."""
        return self.read_slabs[slab.position + 1:]


# ---------------------------------------------------------------------------------------------
# Reading

class LogEnds(Exception):
    """R18.4, R19, D6, Q6: the log ends at an address."""

    def __init__(self, address):
        super().__init__(address)
        self.address = address


Plan = namedtuple("Plan", "goal search_end goal_ordinal most in_next_slab")  # D1
Way = namedtuple("Way", "leaves missing")  # O2


class OpenLoss:
    """O4, O5: the loss that is open until the next ordinal is met."""

    def __init__(self, first, count, known):
        self.first = first
        self.end = first
        self.count = count
        self.known = known
        self.delivered = 0


class Reader:
    """R16 to R26, D and O: one pass from the earliest record to the end of the log."""

    def __init__(self, topic, emit):
        self.topic = topic
        self.emit = emit
        self.count = 0
        self.known = False
        self.loss = None
        self.way = None
        self.last_frame = None

    def run(self):
        try:
            self._walk()
        except LogEnds as end:
            self._finish(end.address)
        except Refused as refusal:
            # R22: an open loss is not reported.
            self.emit({"refused": refusal.base, "reason": str(refusal)})

    def _walk(self):
        """R16, R18: each step leads to a higher address or to a later slab, so this ends."""
        if not self.topic.read_slabs:
            raise LogEnds(0)
        slab = self.topic.read_slabs[0]
        self._begin_count(slab)
        address = slab.base
        while True:
            if slab.version == 1:
                slab, address = self._old_step(slab, address)
            else:
                slab, address = self._step(slab, address)

    def _begin_count(self, slab):
        """R17: the count before the first slab."""
        if slab.base == 0:
            self.count, self.known = 0, True
        elif slab.own:
            self.count, self.known = slab.header.ordinal, True

    def _finish(self, address):
        """O12, R25, R26: report the open loss, and then how the log ends."""
        if self.loss:
            self._report(self.loss.first, self.loss.end, None, "damaged")
            self.loss = None
        if self.topic.voted_otherwise is not None:
            self.emit({"refused": self.topic.voted_otherwise,
                       "reason": "unsupportedFormat: a slab of another topic (vote)"})
        else:
            self.emit({"end": address, "clean": self._is_clean()})

    def _is_clean(self):
        """R26: a closing mark is the last frame, and ends the last listed file."""
        if self.last_frame is None:
            return False
        slab, frame = self.last_frame
        return (isinstance(frame, Mark) and is_closing(frame)
                and slab is self.topic.slabs[-1] and slab.file_end == frame.end)

    # Steps

    def _step(self, slab, address):
        """R18: the first line that holds decides."""
        end = self._take_header(slab) if address == slab.base else self._take_frame(slab, address)
        if end is not None:
            return slab, end
        if address == slab.limit:
            return self._go_to_next(slab, address)
        if self.topic.is_proven(address):
            return self._pass_damage(slab, address)
        raise LogEnds(address)

    def _take_header(self, slab):
        """R22, R23, F7: if 80 bytes are within the content, judge the header."""
        end = slab.base + HEADER_SIZE
        if end > slab.content_end:
            return None
        if slab.header.kind == "newer":
            raise Refused(slab.base, "unsupportedFormat: a newer version or an unknown flag")
        if slab.header.kind == "sound" and not slab.own:
            raise Refused(slab.base, "unsupportedFormat: a slab of another topic")
        if not slab.own:
            return None
        self.topic.take(slab.header.synced)
        self._meet(slab.header.ordinal, slab.base)
        self.last_frame = (slab, slab.header)
        return end

    def _take_frame(self, slab, address):
        """R18.1, R20, R21: take the valid frame at an address, and give its end."""
        frame = slab.frame_at(address, slab.content_end, self.topic.id)
        if frame is None:
            return None
        if isinstance(frame, Mark):
            self.topic.take(frame.synced)
            self._meet(frame.ordinal, address)
        else:
            self._deliver(slab, frame)
        self.last_frame = (slab, frame)
        return frame.end

    def _deliver(self, slab, record):
        """R20: deliver a record with its address, its ordinal and its payload."""
        offset = record.address + 8 - slab.base
        payload = slab.data[offset:offset + record.length]
        self.emit({"record": {"address": record.address,
                              "ordinal": self.count,
                              "payload": payload.hex()}})
        self.count = (self.count + 1) & MASK64  # T6
        if self.loss:
            self.loss.delivered += 1

    def _go_to_next(self, slab, address):
        """R18.2, R19, O2: go on at the base of the next slab."""
        after = self.topic.slabs_after(slab)
        if not after:
            raise LogEnds(address)
        base = after[0].base
        if address < base:
            missing = base != after[0].epoch << POSITION_BITS
            if self.way is None or (missing and not self.way.missing):
                self.way = Way(address, missing)
        return after[0], base

    def _old_step(self, slab, address):
        """Q4 to Q7: a step in a slab of version 1."""
        record = slab.old_record_at(address, slab.content_end, slab.frame_bias)
        if record:
            self._deliver(slab, record)
            self.last_frame = (slab, record)
            return slab, record.end
        if slab.limit is None:
            raise LogEnds(address)  # Q6
        if address == slab.limit:
            return self._go_to_next(slab, address)  # Q5
        after = self.topic.slabs_after(slab)
        end = min([slab.limit] + [later.base for later in after[:1]])
        self._report(address, end, None, "damaged")  # Q7: reported at once
        self.known = False
        return self._go_to_next(slab, end)

    # Damage

    def _pass_damage(self, slab, address):
        """D1 to D8: find the address at which reading resumes."""
        plan = self._bound_by_synced(self._plan(slab, address))
        found = self._find_record(slab, address, plan)
        if found is not None:
            self._add_damage(address, found)
            self._count_back(slab, found, plan)
            return slab, found
        if plan.goal <= address:
            raise LogEnds(address)  # D6
        self._add_damage(address, plan.goal)
        if not plan.in_next_slab:
            return slab, plan.goal
        if plan.goal_ordinal is not None:  # O11
            self.count = plan.goal_ordinal
        return self._go_to_next(slab, plan.goal)  # D7

    def _plan(self, slab, address):
        """D1, D2: the goal, the end of the search, and the two ordinals."""
        index = bisect.bisect_right(slab.mark_addresses, address)
        if index < len(slab.marks) and slab.marks[index].end <= slab.content_end:
            mark = slab.marks[index]
            return Plan(mark.address, mark.address, mark.ordinal, mark.ordinal, False)
        if slab.limit is None:
            return Plan(slab.content_end, slab.content_end, None, None, False)
        after = self.topic.slabs_after(slab)
        goal, ordinal = slab.limit, None
        if after:
            goal = min(goal, after[0].base)
            if after[0].base in (goal, after[0].epoch << POSITION_BITS):
                ordinal = after[0].begins_with(self.topic.id)
        begun = (later.begins_with(self.topic.id) for later in after)
        most = next((n for n in begun if n is not None), None)
        return Plan(goal, slab.content_end, ordinal, most, True)

    def _bound_by_synced(self, plan):
        """D3: nothing above the highest synced is searched."""
        highest = self.topic.highest_synced
        if plan.goal <= highest:
            return plan
        return Plan(highest, min(plan.search_end, highest), None, plan.most, False)

    def _find_record(self, slab, address, plan):
        """D4, D5: the address of the first record that is found, or None."""
        if self.known and plan.most is not None and plan.most - self.count in (0, 1):
            steps = (128,) if address == slab.base else (48, 96)
            tried = (address + step for step in steps)
            return next((a for a in tried if slab.record_at(a, plan.search_end, self.topic.id)),
                        None)
        return self._search_record(slab, address + 1, plan.search_end)

    def _search_record(self, slab, address, end):
        """D5, D13: try every address as a record."""
        data, base, largest = slab.data, slab.base, slab.largest_payload()
        budget = slab.budget()
        unpack = struct.Struct("<I").unpack_from
        start = slab.after_zeros(address)
        while start + 8 <= end:
            (length,) = unpack(data, start - base)
            stop = start + 8 + length
            if length <= largest and stop <= end and (
                    length <= SEARCHED_PAYLOAD or stop == end) and (
                    length <= ALWAYS_TRIED_PAYLOAD or slab.vain_search <= budget):
                if slab.record_at(start, end, self.topic.id):
                    return start
                slab.vain_search += length if length > ALWAYS_TRIED_PAYLOAD else 0
            start = slab.after_zeros(start + 1)
        return None

    def _count_back(self, slab, address, plan):
        """O9: if records alone fill the bytes up to the goal, the count is exact."""
        if plan.goal_ordinal is None or plan.search_end != plan.goal:
            return
        records = 0
        while address < plan.search_end:
            record = slab.record_at(address, plan.search_end, self.topic.id)
            if record is None:
                return
            records += 1
            address = record.end
        if plan.goal_ordinal >= records:
            self.count = plan.goal_ordinal - records

    # Ordinals and losses

    def _add_damage(self, first, end):
        """O4, D8: open a loss, or move the end of the open one."""
        if self.loss is None:
            self.loss = OpenLoss(first, self.count, self.known)
        self.loss.end = end

    def _range_of_loss(self, met_at):
        """O6: the first address and the end of the open loss, as O3.2 reports it."""
        first, end = self.loss.first, self.loss.end
        if self.way and self.way.missing:
            return min(first, self.way.leaves), max(end, met_at)
        return first, end

    def _meet(self, ordinal, address):
        """O3: a mark or an own header meets an ordinal."""
        count, known = self.count, self.known
        if self.loss:  # O5
            count, known = self.loss.count + self.loss.delivered, self.loss.known
        if known and ordinal < count:
            if self.loss:
                self._report(self.loss.first, self.loss.end, None, "damaged")
            self._report(*self._range_of_discarded(address), count - ordinal, "discarded")
        elif self.loss:
            number = ordinal - count if known else None
            self._report(*self._range_of_loss(address), number, "damaged")
        elif known and ordinal > count:
            first = self.way.leaves if self.way else address
            self._report(first, address, ordinal - count, "damaged")
        self.loss = None
        self.way = None
        self.count, self.known = ordinal, True

    def _range_of_discarded(self, address):
        """O7: where discarded records were."""
        if self.way is None:
            return address, address
        end = self.way.leaves
        bound = self.topic.bounds.get(epoch_of(end))
        return (bound if bound is not None and bound < end else end), end

    def _report(self, first, end, records, cause):
        """O1: report a loss."""
        self.emit({"loss": {"from": first, "to": end, "records": records, "cause": cause}})


# ---------------------------------------------------------------------------------------------

def read_topic(directory, emit):
    """Read a topic, and give each line to `emit`."""
    try:
        slabs = list_slabs(directory)
    except Refused as refusal:
        emit({"refused": refusal.base, "reason": str(refusal)})
        return
    except OSError as error:
        emit({"refused": None, "reason": f"system: {error.strerror}"})  # R27
        return
    Reader(Topic(slabs), emit).run()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: read_topic.py DIRECTORY")
    read_topic(sys.argv[1], lambda line: print(json.dumps(line)))


if __name__ == "__main__":
    main()
