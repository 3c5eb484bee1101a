// Everything in one include.
#pragma once

#include <litecluster/app.hpp>
#include <litecluster/app_options.hpp>
#include <litecluster/client.hpp>
#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/health.hpp>
#include <litecluster/hooks.hpp>
#include <litecluster/kv.hpp>
#include <litecluster/lag.hpp>
#include <litecluster/lock.hpp>
#include <litecluster/member.hpp>
#include <litecluster/nats_options.hpp>
#include <litecluster/replication.hpp>
#include <litecluster/ring.hpp>
#include <litecluster/ring_client.hpp>
#include <litecluster/types.hpp>
