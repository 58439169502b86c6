"""A clock that tests set forward."""

from tellwire.clock import SystemClock


class LateClock(SystemClock):
    """Tells a time that lies ``late_ms`` ahead."""

    late_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.late_ms
