#include "db/replica.hpp"

#include <utility>

#include "db/replica_implementation.hpp"

namespace litecluster::db {

Replica::Replica(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}
Replica::Replica(Replica&&) noexcept = default;
Replica& Replica::operator=(Replica&&) noexcept = default;
Replica::~Replica() = default;

std::filesystem::path position_path_of(std::filesystem::path replica) {
  return with_suffix(std::move(replica), "-position");
}

Result<Replica> Replica::open(ReplicaOptions options) {
  if (options.position_path.empty()) options.position_path = position_path_of(options.path);
  auto record_file = ReplicaRecordFile::open(options.position_path);
  if (!record_file) return std::unexpected(record_file.error());
  auto implementation = std::make_unique<Implementation>(std::move(options), std::move(*record_file));
  if (auto opened = implementation->open(); !opened) return std::unexpected(opened.error());
  return Replica(std::move(implementation));
}

ReplicaState Replica::state() const {
  return implementation_->state_;
}

const std::string& Replica::quarantine_reason() const {
  return implementation_->quarantine_reason_;
}

ReplicaPosition Replica::position() const {
  return implementation_->position_;
}

std::uint32_t Replica::page_size() const {
  return implementation_->page_size_;
}

std::uint32_t Replica::page_count() const {
  return implementation_->page_count_;
}

const std::filesystem::path& Replica::position_path() const {
  return implementation_->options_.position_path;
}

ReplicaStatistics Replica::statistics() const {
  return implementation_->statistics();
}

Status Replica::apply(const ReplicaChange& change) {
  return implementation_->apply(change);
}

Status Replica::seed(const ReplicaSeed& seed, ReplicaPageSource source) {
  return implementation_->seed(seed, std::move(source));
}

Status Replica::adopt(const ReplicaPosition& position, Txid doubtful_to) {
  return implementation_->adopt(position, doubtful_to);
}
bool Replica::position_is_doubtful() const {
  return implementation_->position_is_doubtful();
}
void Replica::note_log_end(Txid end) {
  implementation_->note_log_end(end);
}
void Replica::distrust(const std::string& reason) {
  implementation_->distrust(reason);
}

Status Replica::verify() {
  return implementation_->verify();
}

Result<Checksum> Replica::scan() {
  return implementation_->scan();
}

Result<base::Bytes> Replica::read_page(PageNo number) {
  return implementation_->read_page(number);
}

Status Replica::checkpoint() {
  return implementation_->checkpoint();
}

Result<bool> Replica::scrub(std::uint32_t pages_max) {
  return implementation_->scrub(pages_max);
}
Result<bool> Replica::scrub_again(std::uint32_t pages_max) {
  return implementation_->scrub_again(pages_max);
}

Result<Handover> Replica::hand_over(bool full_scan, std::chrono::milliseconds patience) {
  return implementation_->hand_over(full_scan, patience);
}

Status Replica::close() {
  return implementation_->close();
}

}  // namespace litecluster::db
