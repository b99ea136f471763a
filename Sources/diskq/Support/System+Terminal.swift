// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// With System.swift and the other System+….swift, the only files of the command that import the C
// library.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// What showing something on a terminal needs: its size, its keys, and the signals that are about it.
extension System {
  /// Whether what a terminal is told to do, beside showing text, is done.
  static func canBeDrawnOn(_ descriptor: Int32) -> Bool {
    guard isTerminal(descriptor), let kind = getenv("TERM") else { return false }
    let name = String(cString: kind)
    return !name.isEmpty && name != "dumb"
  }

  /// Columns and rows of a terminal; those of the oldest ones where it does not say.
  static func terminalSize(_ descriptor: Int32) -> WatchScreen.Size {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return WatchScreen.Size(columns: 80, rows: 24)
    }
    return WatchScreen.Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
  }

  /// How a terminal treats its keys.
  struct KeyMode: Sendable {
    fileprivate var settings: termios
  }

  /// nil where it is no terminal.
  static func keyMode(_ descriptor: Int32) -> KeyMode? {
    var settings = termios()
    return tcgetattr(descriptor, &settings) == 0 ? KeyMode(settings: settings) : nil
  }

  static func setKeyMode(_ mode: KeyMode, _ descriptor: Int32) {
    var settings = mode.settings
    // One that is gone has no mode to be set.
    _ = tcsetattr(descriptor, TCSANOW, &settings)
  }

  /// Keys come one by one, and are not shown; Ctrl-C and Ctrl-Z stay signals.
  static func setSingleKeys(from mode: KeyMode, _ descriptor: Int32) {
    var single = mode
    single.settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
    setKeyMode(single, descriptor)
  }

  /// What happens to a terminal, or to who shows something on it.
  enum TerminalSignal: UInt8, CaseIterable, Sendable {
    case resized, suspended
    /// Ctrl-\. That it is gone is a stop signal's to say.
    case ended

    fileprivate var numbers: [Int32] {
      switch self {
      case .resized: [SIGWINCH]
      case .suspended: [SIGTSTP]
      case .ended: [SIGQUIT]
      }
    }
  }

  /// Keeps the signals of terminals from all threads that are started from now on.
  static func blockTerminalSignals() {
    var signals = terminalSignals()
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  private static func terminalSignals() -> sigset_t {
    signalsNotIgnored(TerminalSignal.allCases.flatMap(\.numbers))
  }

  /// A descriptor on which each of these signals is a byte: its raw value. They have to be blocked.
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
          // Nobody reads any more: it is at its end.
          try? write(ends.writing, $0, name: "a pipe")
        }
      }
    }
    return ends.reading
  }

  /// Stops this process, as Ctrl-Z does, until it is told to go on.
  static func suspend() { kill(getpid(), SIGSTOP) }
}
