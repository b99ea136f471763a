// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The terminal at standard output, taken for what is drawn anew again and again: a screen of its own
/// without a cursor. Whoever takes it gives it back, as it was.
final class Terminal: Sendable {
  private struct State {
    var isTaken = false
    /// As it was before; nil where standard input is no terminal.
    var keys: System.KeyMode?
  }

  private let state = Mutex(State())

  /// The alternate screen, no cursor, no wrapping. (xterm's control sequences, which all know.)
  private static let taking = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l"
  private static let givingBack = "\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"

  func take() throws(Failure) {
    try state.withLock { state throws(Failure) in
      guard !state.isTaken else { return }
      state.keys = System.keyMode(System.standardInput)
      // First: whatever fails now, it is given back.
      state.isTaken = true
      if let keys = state.keys { System.setSingleKeys(from: keys, System.standardInput) }
      try Terminal.write(Terminal.taking)
    }
  }

  func giveBack() { state.withLock { Terminal.giveBack(&$0) } }

  /// As `giveBack`, unless something is drawn at this moment: who is stuck in that must not keep the
  /// caller.
  func giveBackIfPossible() { state.withLockIfAvailable { Terminal.giveBack(&$0) } }

  private static func giveBack(_ state: inout State) {
    guard state.isTaken else { return }
    state.isTaken = false
    // One that is gone has nothing to be given back.
    try? write(givingBack)
    if let keys = state.keys { System.setKeyMode(keys, System.standardInput) }
  }

  /// Shows lines in place of what there was; nothing once it was given back.
  ///
  /// - Parameter size: of the terminal; no line is longer, and there are no more of them.
  func draw(_ lines: [String], size: WatchScreen.Size) throws(Failure) {
    try state.withLock { state throws(Failure) in
      guard state.isTaken else { return }
      let blank = [String](repeating: "", count: max(0, size.rows - lines.count))
      // Each line is erased before it is written: behind a full one the cursor stands on its end.
      try Terminal.write(
        "\u{1B}[H" + (lines + blank).map { "\u{1B}[K" + $0 }.joined(separator: "\r\n"))
    }
  }

  private static func write(_ text: String) throws(Failure) {
    var text = text
    let result = text.withUTF8 { bytes in
      Result { () throws(Failure) in
        try System.write(
          System.standardOutput, UnsafeRawBufferPointer(bytes), name: "the terminal")
      }
    }
    try result.get()
  }
}
