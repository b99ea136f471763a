// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// The command line. Data goes to standard output, everything else to standard error.
@main
struct Diskq: ParsableCommand {
  static let version = "0.1.0"

  /// The examples of the first minutes.
  static let examples = Examples.section([
    "Append three records to a new topic in ./queue.":
      "printf '%s\\n' one two three | diskq append queue",
    "Print its records.":
      "diskq read queue",
    "Print the records that are new to this consumer.":
      "diskq consume queue --consumer mail",
    "Print how much the topic holds, and its writer and consumers.":
      "diskq info queue",
  ])

  static let configuration = CommandConfiguration(
    commandName: "diskq",
    abstract: "Appends to, reads, consumes, cleans and examines disk queues.",
    discussion: """
      A topic is a directory. Sizes are written as 4096, 64MiB or 10M. KiB, MiB, GiB and TiB are \
      powers of 1,024. k, M, G and T, or kB, MB, GB and TB, are powers of 1,000, so 10M is \
      10,000,000 bytes. Times and ages are written as 200ms, 90s, 15m, 1.5h, 1d12h or 2w. \
      Addresses are decimal numbers.

      The exit status is 0 if the command did its work, 1 if it found damage or loss, 2 if it \
      failed, and 64 for wrong usage.

      Ctrl-C, SIGTERM and SIGHUP stop every command. Some work ends only when it is stopped: \
      --follow, info --watch, and append from a pipe or a terminal. The status is then as above. \
      If a signal stops any other work, the work is unfinished. The command then reports its \
      changes so far, and ends by the signal, which a shell shows as 130, 143 or 129. If the \
      reader of standard output goes away, a command that only prints is done, and the status is \
      as above.
      """ + examples,
    version: version,
    groupedSubcommands: [
      CommandGroup(
        name: "Record",
        subcommands: [
          AppendCommand.self, ReadCommand.self, ConsumeCommand.self, DeadLettersCommand.self,
        ]),
      CommandGroup(
        name: "State",
        subcommands: [
          InfoCommand.self, ConsumersCommand.self, VerifyCommand.self, DumpCommand.self,
          BenchCommand.self,
        ]),
      CommandGroup(
        name: "Maintenance",
        subcommands: [
          CleanCommand.self, SnapshotCommand.self, RestoreCommand.self, RepairCommand.self,
        ]),
    ])

  static func main() {
    System.occupyStandardDescriptors()
    System.prepareSignals()
    System.endOnSignalsAsFirstProcess()
    guard hasArguments(CommandLine.arguments) else {
      Messages.say(
        "this process cannot read its arguments: mount /proc (mount -t proc proc /proc), and start"
          + " diskq with its name as the first argument")
      System.leave(Status.usage)
    }
    do {
      let arguments = Spelling.joiningNegativeNumbers(Array(CommandLine.arguments.dropFirst()))
      try Spelling.checkCommand(
        arguments, configuration.subcommands.map { $0._commandName } + ["help"])
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch let error as QueueError {
      Messages.say(error)
      System.leave(Status.failed)
    } catch let error as Failure {
      Messages.say(error)
      System.leave(Status.failed)
    } catch let error as Interrupted {
      System.end(bySignal: error.signal)
    } catch {
      // Help, the version, wrong usage, and the exit statuses of finished commands.
      exit(withError: error)
    }
  }

  /// Without a command: a short help, without the discussion of what all commands share.
  func run() throws {
    var output = Output()
    output.put(Self.shortHelp)
    try output.finish()
  }

  static var shortHelp: String {
    let help = helpMessage()
    let usage = help.firstRange(of: "\n\nUSAGE: ").map { help[$0.lowerBound...] } ?? ""
    return "diskq \(version): \(configuration.abstract)\(examples)\(usage.dropFirst())\n"
  }

  /// Whether the arguments hold at least this program's name.
  ///
  /// Swift reads the arguments from /proc, and finds none if /proc is missing. If a program is
  /// started without any argument, Linux adds an empty one.
  static func hasArguments(_ arguments: [String]) -> Bool {
    arguments.count > 1 || arguments.first?.isEmpty == false
  }
}
