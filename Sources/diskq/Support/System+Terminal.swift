// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Only this file, System.swift and the other System+….swift import the C library in the command.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// The calls that drawing on a terminal needs: its size, its keys, and its signals.
extension System {
  /// Whether this is a terminal that obeys control sequences.
  static func canBeDrawnOn(_ descriptor: Int32) -> Bool {
    guard isTerminal(descriptor), let kind = getenv("TERM") else { return false }
    let name = String(cString: kind)
    return !name.isEmpty && name != "dumb"
  }

  /// Columns and rows of a terminal. If the system does not know them, 80 and 24.
  static func terminalSize(_ descriptor: Int32) -> WatchScreen.ScreenSize {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return WatchScreen.ScreenSize(columns: 80, rows: 24)
    }
    return WatchScreen.ScreenSize(columns: Int(size.ws_col), rows: Int(size.ws_row))
  }

  /// How a terminal treats its keys.
  struct KeyMode: Sendable {
    fileprivate var settings: termios
  }

  /// The key mode of a terminal, or nil if the descriptor is no terminal.
  static func keyMode(_ descriptor: Int32) -> KeyMode? {
    var settings = termios()
    return tcgetattr(descriptor, &settings) == 0 ? KeyMode(settings: settings) : nil
  }

  static func setKeyMode(_ mode: KeyMode, _ descriptor: Int32) {
    var settings = mode.settings
    // Ignore an error: a terminal that is gone has no mode to set.
    _ = tcsetattr(descriptor, TCSANOW, &settings)
  }

  /// Makes keys come one by one, without being shown. Ctrl-C and Ctrl-Z stay signals.
  static func setSingleKeys(from mode: KeyMode, _ descriptor: Int32) {
    var single = mode
    single.settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
    setKeyMode(single, descriptor)
  }

  /// A signal from the terminal.
  enum TerminalSignal: UInt8, CaseIterable, Sendable {
    case resized, suspended
    /// Ctrl-\. If the terminal is gone, a stop signal reports it.
    case ended

    fileprivate var numbers: [Int32] {
      switch self {
      case .resized: [SIGWINCH]
      case .suspended: [SIGTSTP]
      case .ended: [SIGQUIT]
      }
    }
  }

  /// Blocks the terminal's signals in this thread, and in all threads that are started later.
  static func blockTerminalSignals() {
    var signals = terminalSignals()
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  private static func terminalSignals() -> sigset_t {
    signalsNotIgnored(TerminalSignal.allCases.flatMap(\.numbers))
  }

  /// A descriptor from which each of these signals can be read as a byte, its raw value. Call
  /// `blockTerminalSignals` first.
  static func terminalSignalPipe() throws(Failure) -> Int32 {
    let ends = try makePipe()
    let signals = terminalSignals()
    try startThread {
      var signals = signals
      var number: Int32 = 0
      while sigwait(&signals, &number) == 0 {
        guard let signal = TerminalSignal.allCases.first(where: { $0.numbers.contains(number) })
        else { continue }
        withUnsafeBytes(of: signal.rawValue) {
          // Ignore an error: if the reading end is closed, the command is ending.
          try? write(ends.writing, $0, name: "a pipe")
        }
      }
    }
    return ends.reading
  }

  /// Suspends this process, like Ctrl-Z, until SIGCONT.
  static func suspend() { kill(getpid(), SIGSTOP) }
}
