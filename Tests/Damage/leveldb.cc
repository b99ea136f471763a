// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// What damage costs in LevelDB's log: a log of RECORDS puts, damaged in many places, one at a time,
// and what leveldb::DumpFile, LevelDB's own reader, still gives of it. Prints a line for each kind:
// its name, how many cases, the most records lost, and how many in all. See .ci/damage-costs.

#include <leveldb/db.h>
#include <leveldb/dumpfile.h>
#include <leveldb/env.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr int kRecords = 1000;
constexpr int kPayload = 100;

constexpr size_t kSector = 512;

[[noreturn]] void Fail(const std::string& what) {
  std::cerr << "leveldb: " << what << "\n";
  std::exit(1);
}

class Sink : public leveldb::WritableFile {
 public:
  std::string text;
  leveldb::Status Append(const leveldb::Slice& data) override {
    text.append(data.data(), data.size());
    return leveldb::Status::OK();
  }
  leveldb::Status Close() override { return leveldb::Status::OK(); }
  leveldb::Status Flush() override { return leveldb::Status::OK(); }
  leveldb::Status Sync() override { return leveldb::Status::OK(); }
};

std::string Payload(int number) {
  std::string payload = "record " + std::to_string(number) + " ";
  while (payload.size() < kPayload) {
    payload += static_cast<char>('a' + (payload.size() * 7 + number) % 26);
  }
  return payload;
}

std::string Key(int number) {
  char key[16];
  std::snprintf(key, sizeof key, "%06d", number);
  return key;
}

class Log {
 public:
  explicit Log(const std::string& directory) : path_(directory + "/damaged.log") {
    const std::string place = directory + "/leveldb";
    leveldb::Options options;
    options.create_if_missing = true;
    leveldb::DB* db = nullptr;
    if (!leveldb::DB::Open(options, place, &db).ok()) Fail("the database does not open");
    for (int number = 0; number < kRecords; ++number) {
      if (!db->Put(leveldb::WriteOptions(), Key(number), Payload(number)).ok())
        Fail("a put failed");
      expected_.insert("  put '" + Key(number) + "' '" + Payload(number) + "'");
    }
    delete db;
    std::vector<std::string> names;
    leveldb::Env::Default()->GetChildren(place, &names);
    for (const std::string& name : names) {
      if (name.size() < 4 || name.compare(name.size() - 4, 4, ".log") != 0) continue;
      std::ifstream file(place + "/" + name, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(file), {});
    }
    std::istringstream lines(Dump(bytes));
    for (std::string line; std::getline(lines, line);) {
      unsigned long long offset;
      if (std::sscanf(line.c_str(), "--- offset %llu;", &offset) == 1) offsets.push_back(offset);
    }
    if (offsets.size() != kRecords || Lost(bytes) != 0) Fail("the log does not hold what was put");
  }

  std::string bytes;
  // Where each record begins.
  std::vector<size_t> offsets;

  // How many records are not given back as they were put.
  int Lost(const std::string& damaged) {
    std::set<std::string> found;
    std::istringstream lines(Dump(damaged));
    for (std::string line; std::getline(lines, line);) {
      if (expected_.count(line) != 0) found.insert(line);
    }
    return kRecords - static_cast<int>(found.size());
  }

 private:
  std::string Dump(const std::string& content) {
    {
      std::ofstream file(path_, std::ios::binary | std::ios::trunc);
      file << content;
    }
    Sink sink;
    // By its name it is known to be a log.
    const std::string name = path_.substr(0, path_.rfind('/')) + "/000003.log";
    std::rename(path_.c_str(), name.c_str());
    leveldb::DumpFile(leveldb::Env::Default(), name, &sink);
    return sink.text;
  }

  std::string path_;
  std::set<std::string> expected_;
};

void Measure(Log& log, const char* kind, int cases,
             const std::function<void(std::string&, int)>& damage) {
  int worst = 0;
  long total = 0;
  for (int number = 0; number < cases; ++number) {
    std::string bytes = log.bytes;
    damage(bytes, number);
    const int lost = log.Lost(bytes);
    worst = lost > worst ? lost : worst;
    total += lost;
  }
  std::printf("%s %d %d %ld\n", kind, cases, worst, total);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) Fail("give it an empty directory");
  Log log(argv[1]);
  std::mt19937 random(1);
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  const auto flip = [&](std::string& bytes, size_t offset, size_t count) {
    const size_t bit = below(count * 8);
    bytes[offset + bit / 8] ^= static_cast<char>(1 << (bit % 8));
  };
  // The payload is the end of a record; one that goes on in the next block has a header in between.
  const auto payload = [&](int number) {
    const size_t end = number + 1 < kRecords ? log.offsets[number + 1] : log.bytes.size();
    return end - kPayload / 2;
  };
  Measure(log, "payload", kRecords,
          [&](std::string& bytes, int number) { flip(bytes, payload(number), 16); });
  Measure(log, "length", kRecords,
          [&](std::string& bytes, int number) { flip(bytes, log.offsets[number] + 4, 2); });
  Measure(log, "checksum", kRecords,
          [&](std::string& bytes, int number) { flip(bytes, log.offsets[number], 4); });
  Measure(log, "sector", static_cast<int>(log.bytes.size() / kSector),
          [&](std::string& bytes, int number) {
            bytes.replace(number * kSector, kSector, kSector, '\0');
          });
  // One file: what is behind the cut is gone.
  Measure(log, "cut", 7, [&](std::string& bytes, int number) {
    bytes.resize(bytes.size() * (2 * number + 1) / 14);
  });
  Measure(log, "two", kRecords, [&](std::string& bytes, int) {
    const int first = static_cast<int>(below(kRecords));
    const int second = (first + 1 + static_cast<int>(below(kRecords - 1))) % kRecords;
    flip(bytes, payload(first), 16);
    flip(bytes, payload(second), 16);
  });
  Measure(log, "gone", 1, [&](std::string& bytes, int) { bytes.clear(); });
  return 0;
}
