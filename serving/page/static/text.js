// Numbers as people read them.

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

export const clock = (seconds) => {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

export const decimal = (value, digits) => value.toFixed(digits).replace("-", "−");

export const grouped = (count) => count.toLocaleString("en");
