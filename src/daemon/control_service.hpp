// What a running node answers, on its control socket and on NATS (`<cluster>.ctl.<node>.<verb>`).
//
// Requests are JSON: {"verb": "status"}, {"verb": "stepdown", "to": "node-2"}, {"verb": "sync"}, {"verb":
// "snapshot"}. Answers are {"ok": true, …} or {"ok": false, "code": …, "message": …}.
#pragma once

#include <string>
#include <thread>

#include <litecluster/app.hpp>
#include <litecluster/context.hpp>

#include "daemon/control_socket.hpp"

namespace litecluster::daemon {

[[nodiscard]] ControlHandler control_handler(App& app);

/// Serves the same over NATS while the App runs: questions at once, also while an order is carried out;
/// orders one after the other.
class RemoteControl {
 public:
  explicit RemoteControl(App& app);
  ~RemoteControl() { stop(); }
  RemoteControl(const RemoteControl&) = delete;
  RemoteControl& operator=(const RemoteControl&) = delete;
  void stop();

 private:
  void run(const std::string& verb);
  App& app_;
  Context stop_ = Context::background();
  std::thread questions_;
  std::thread orders_;
};

}  // namespace litecluster::daemon
