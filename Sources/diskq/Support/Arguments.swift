// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// A position to begin reading at, or to end at, as it is written on the command line.
struct Start: ArgumentValue {
  static let legal =
    "it takes earliest, latest, now, an address (4096), ordinal:N, a time (2026-11-21T12:00Z) or an"
    + " age (90s, 1.5h, 1d12h, 2w)"

  let position: Topic.Position
  /// The address, if the position is one.
  var address: Address? { position.address }
  /// The ordinal, if the position is one.
  var ordinal: UInt64? { position.ordinal }

  init?(argument: String) {
    if let position = Topic.Position(argument) {
      self.position = position
    } else if argument == "now" {
      position = .ago(Age(.zero))
    } else if let age = TimeSpan(argument: argument) {
      position = .ago(Age(age.duration))
    } else if let time = Timestamp.parse(argument) {
      position = .time(since1970: time)
    } else {
      return nil
    }
  }
}

/// A number of things, as it is written on the command line. Its name is that of the option.
enum Whole {
  /// For an option's `transform`. Accepts 0, too.
  static func parsed(_ argument: String) throws -> UInt64 {
    guard let number = UInt64(argument), argument.utf8.first != UInt8(ascii: "+") else {
      throw ValidationError("it takes a whole number that is not negative, as in 1000")
    }
    return number
  }

  /// For an option's `transform`. Accepts numbers of records that fit in a batch.
  static func parsedCount(_ argument: String) throws -> Int {
    try parsed(argument, upTo: 1_000_000)
  }

  /// For an option's `transform`. Accepts numbers of commands that may run at once.
  static func parsedJobs(_ argument: String) throws -> Int { try parsed(argument, upTo: 1000) }

  /// For an option's `transform`. Accepts numbers of shards.
  static func parsedShards(_ argument: String) throws -> Int {
    try parsed(argument, upTo: ShardsFile.counts.upperBound)
  }

  private static func parsed(_ argument: String, upTo most: Int) throws -> Int {
    guard let number = Int(argument), (1...most).contains(number) else {
      throw ValidationError("it takes a whole number from 1 to \(most)")
    }
    return number
  }
}

/// A level of durability, as it is written on the command line.
enum Level: String, CaseIterable, ExpressibleByArgument {
  case buffered, flushed, synced

  var durability: Durability {
    switch self {
    case .buffered: .buffered
    case .flushed: .flushed
    case .synced: .synced
    }
  }
}

/// Reports an option value that the library refuses as wrong usage.
func checkUsage(_ validate: () throws(QueueError) -> Void) throws {
  do throws(QueueError) {
    try validate()
  } catch {
    throw ValidationError(OptionNames.translated(error.message))
  }
}

/// Refuses a name that no consumer can have.
func checkConsumer(_ name: String) throws {
  guard CursorName.isValid(name) else {
    throw ValidationError(
      "\"\(name)\" cannot be a consumer's name: use 1 to 64 of A-Z a-z 0-9 . _ - and no dot first")
  }
}

/// The options of verbs that print JSON.
struct JSONOptions: ParsableArguments {
  @Flag(
    help: """
      Print addresses and ordinals in JSON as strings. As numbers they are exact, but JavaScript \
      and jq 1.6 round numbers above 2^53, and jq 1.7 does so when it calculates with them.
      """)
  var jsonStrings = false

  /// Refuses `--json-strings` if the verb prints no JSON.
  ///
  /// - Parameter option: the option that makes the verb print JSON.
  func check(isJSON: Bool, _ option: String) throws {
    guard isJSON || !jsonStrings else {
      throw ValidationError("--json-strings needs \(option)")
    }
  }
}
