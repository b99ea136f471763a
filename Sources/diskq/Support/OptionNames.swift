// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Replaces the names of the library's options in its messages by those of the command line.
enum OptionNames {
  private static let names = [
    "slabSize": "--slab-size", "maximumPayload": "--maximum-payload",
    "maximumBytes": "--maximum-bytes", "maximumRecords": "--maximum-records",
    "flushEvery": "--flush-every", "syncEvery": "--sync-every",
    "whenFull": "--when-full",
  ]

  static func translated(_ sentence: String) -> String {
    var text = ""
    var word = ""
    for character in sentence {
      if character.isLetter {
        word.append(character)
      } else {
        text += names[word] ?? word
        word = ""
        text.append(character)
      }
    }
    return text + (names[word] ?? word)
  }
}

extension QueueError {
  /// The description, with the command line's names of options.
  var sentence: String {
    // The path after the message is the user's, and stays unchanged.
    OptionNames.translated(message) + description.dropFirst(message.count)
  }
}
