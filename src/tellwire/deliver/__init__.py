"""Stage 2, send: claim deliveries, send them, judge the answers, record what happened."""
