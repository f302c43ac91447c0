"""Official rows and our rows, read into one form: (as-of time, entity) -> label."""
import csv
import datetime
import json


def parse_time(text):
    """Seconds since 1970 of `2010-01-01`, `2010-01-01 12:30:00` or RFC 3339; no zone means UTC."""
    text = text.strip()
    if text.endswith(("Z", "z")):
        text = text[:-1]
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) / (
        datetime.timedelta(seconds=1)
    )


def entity_text(entity):
    """One text per key, whatever type carried it: 1, 1.0 and "1" are one key; lists join with |."""
    if isinstance(entity, (list, tuple)):
        return "|".join(entity_text(part) for part in entity)
    if isinstance(entity, bool):
        return "1" if entity else "0"
    if isinstance(entity, float) and entity.is_integer():
        entity = int(entity)
    return str(entity)


def read_rows(path, time_column, entity_column, label_column, wanted=None):
    """{(time, entity): label text} of a CSV; `wanted` filters rows (a dict of column -> value)."""
    rows = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        needed = [time_column, entity_column, label_column, *(wanted or {})]
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise SystemExit(f"{path}: no column {', '.join(missing)}; it has {reader.fieldnames}")
        for row in reader:
            if wanted and any(row[name] != value for name, value in wanted.items()):
                continue
            key = (parse_time(row[time_column]), entity_text(row[entity_column]))
            if key in rows and rows[key] != row[label_column]:
                where = f"{row[entity_column]} at {row[time_column]}"
                raise SystemExit(f"{path}: two labels for {where}")
            rows[key] = row[label_column]
    return rows


def label_of(text):
    """A number where it is one (t/true and f/false count as 1 and 0), else the text; '' is None."""
    if text == "":
        return None
    if text in ("t", "true", "True"):
        return 1.0
    if text in ("f", "false", "False"):
        return 0.0
    try:
        return float(text)
    except ValueError:
        return text


TRIGGER_RANK = {"request": 2, "tick": 1, "arrival": 1}


def read_predictions(path, task, wanted):
    """{(time, entity): prediction} for keys in `wanted`: a request before a tick before the rest,
    and among equals the highest sequence number."""
    best = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                prediction = json.loads(line)
                if prediction["task"] != task:
                    continue
                key = (parse_time(prediction["as_of"]), entity_text(prediction["entity"]))
                rank = (TRIGGER_RANK.get(prediction["trigger"], 0), prediction["seq"])
            except (ValueError, KeyError, TypeError) as error:
                raise SystemExit(f"{path}:{number}: not a prediction: {error!r}") from error
            if key in wanted and (key not in best or rank > best[key][0]):
                best[key] = (rank, prediction)
    return {key: prediction for key, (_, prediction) in best.items()}
