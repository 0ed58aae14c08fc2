"""What the embedded corpora say, and in whose voices: words, accents, variants."""

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
# Together with the commands these are the thirty words of Speech Commands, version 1.
OTHER_WORDS = (
    *("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin"),
    *("nine", "one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero"),
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# The English that espeak-ng speaks, under the names that we give them: eight sets of phonemes, rules and rhythms.
ACCENTS = {
    "american": "gmw/en-US",
    "british": "gmw/en",
    "caribbean": "gmw/en-029",
    "lancaster": "gmw/en-GB-x-gbclan",
    "new-york": "gmw/en-US-nyc",
    "received": "gmw/en-GB-x-rp",
    "scottish": "gmw/en-GB-scotland",
    "west-midlands": "gmw/en-GB-x-gbcwmd",
}

# The variants of espeak-ng that sound like somebody, one of each family of near copies. Left out are whispers, robots,
# echoes, effects, and those that read a voice's settings again under another name.
VARIANTS = (
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Jacky", "Lee", "Marco", "Mario"),
    *("Michael", "Mike", "Nguyen", "Reed", "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris"),
    *("croak", "david", "ed", "edward", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa", "gustave", "iven2"),
    *("john", "kaukovalta", "klatt2", "klatt3", "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo"),
    *("max", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis"),
    *("victor", "zac"),
)
