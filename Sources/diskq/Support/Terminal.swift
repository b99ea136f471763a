// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The terminal at standard output, taken for a screen that is drawn again and again: a separate
/// screen without a cursor. After `take`, call `giveBack`, which restores the terminal.
final class Terminal: Sendable {
  private struct State {
    var isTaken = false
    /// The key mode before `take`, or nil if standard input is no terminal.
    var keys: System.KeyMode?
  }

  private let state = Mutex(State())

  /// The alternate screen, no cursor, no wrapping: xterm's control sequences, which all terminals
  /// know.
  private static let taking = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l"
  private static let givingBack = "\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"

  func take() throws(Failure) {
    try state.withLock { state throws(Failure) in
      guard !state.isTaken else { return }
      state.keys = System.keyMode(System.standardInput)
      // Set this first: if a later step fails, `giveBack` still restores the terminal.
      state.isTaken = true
      if let keys = state.keys { System.setSingleKeys(from: keys, System.standardInput) }
      try Terminal.write(Terminal.taking)
    }
  }

  func giveBack() { state.withLock { Terminal.giveBack(&$0) } }

  /// Like `giveBack`, but does nothing while another thread draws, so that a stuck write does not
  /// block the caller.
  func giveBackIfPossible() { state.withLockIfAvailable { Terminal.giveBack(&$0) } }

  private static func giveBack(_ state: inout State) {
    guard state.isTaken else { return }
    state.isTaken = false
    // Ignore an error: if the terminal is gone, there is nothing to restore.
    try? write(givingBack)
    if let keys = state.keys { System.setKeyMode(keys, System.standardInput) }
  }

  /// Replaces the shown lines. Does nothing after the terminal was given back.
  ///
  /// - Parameter size: the size of the terminal. `lines` must fit into it.
  func draw(_ lines: [String], size: WatchScreen.ScreenSize) throws(Failure) {
    try state.withLock { state throws(Failure) in
      guard state.isTaken else { return }
      let blank = [String](repeating: "", count: max(0, size.rows - lines.count))
      // Erase each line before writing it: after a full line, the cursor is on its last character.
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
