// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Where to begin reading, as it is written on the command line.
struct Start: ExpressibleByArgument {
  let position: Topic.Position

  init?(argument: String) {
    let ordinal = "ordinal:"
    if argument == "earliest" {
      position = .earliest
    } else if argument == "latest" {
      position = .latest
    } else if argument.hasPrefix(ordinal) {
      let digits = argument.dropFirst(ordinal.count)
      // As an address is read: nothing but digits.
      guard let number = Address(String(digits)) else { return nil }
      position = .ordinal(number.rawValue)
    } else if let address = Address(argument) {
      position = .address(address)
    } else if let age = AgeText.parse(argument) {
      position = .ago(Age(age))
    } else if let time = Timestamp.parse(argument) {
      position = .time(since1970: time)
    } else {
      return nil
    }
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

/// Turns an option that its type refuses into wrong usage.
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
      "\"\(name)\" cannot be a consumer's name: 1 to 64 of A-Z a-z 0-9 . _ -, and no dot first")
  }
}
