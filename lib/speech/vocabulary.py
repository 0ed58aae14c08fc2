"""What the embedded corpora say, and in whose voices: words, grammars, accents, variants.

A grammar is a tuple of slots, and a slot a tuple of phrases; a sentence has one phrase of each slot, in order.
"""

Grammar = tuple[tuple[str, ...], ...]

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
MANDARIN = "sit/cmn"

# The variants of espeak-ng that sound like somebody, one of each family of near copies. Left out are whispers, robots,
# strong echoes, effects, and those that read a voice's settings again under another name.
VARIANTS = (
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Jacky", "Lee", "Marco", "Mario"),
    *("Michael", "Mike", "Nguyen", "Reed", "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris"),
    *("croak", "david", "ed", "edward", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa", "gustave", "iven2"),
    *("john", "kaukovalta", "klatt2", "klatt3", "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo"),
    *("max", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis"),
    *("victor", "zac"),
)

# Full of what English accents differ in: bath, lot, thought, strut, north, near, square, r after a vowel, h, t, -ing.
ENGLISH: Grammar = (
    (
        *(
            "my mother",
            "her father",
            "the doctor",
            "our daughter",
            "the nurse",
            "a farmer",
            "the teacher",
            "his brother",
        ),
        *("the singer", "a lawyer", "the hunter", "my cousin", "the poor girl", "an actor", "the baker", "the captain"),
    ),
    (
        *("was washing", "is looking for", "has heard about", "will never find", "was carrying", "always wanted"),
        *("is hiding", "has bought", "was painting", "asked for", "is talking about", "dropped", "cannot bear"),
        *("started moving", "has lost", "is waiting for"),
    ),
    (
        *("the old car", "a cup of water", "her warm coat", "the last horse", "four square boxes", "a large glass"),
        *(
            "the north door",
            "some hot butter",
            "the other path",
            "the party hats",
            "half a bottle",
            "the little mirror",
        ),
        *("a pair of chairs", "the third letter", "both white boats", "a bird in a cage"),
    ),
    (
        *("in the park", "near the harbour", "after dark", "before the bath", "at the airport", "last summer"),
        *("up the stairs", "outside the house", "all morning", "for an hour", "by the fire", "under the tower"),
        *("every year", "during the storm", "around the corner", "on the farm"),
    ),
)

SPANISH: Grammar = (
    (
        *("mi madre", "el doctor", "la profesora", "su hermano", "el niño", "la vecina", "mi primo", "una amiga"),
        *("el pintor", "la cantante", "nuestro abuelo", "su hija"),
    ),
    (
        *("quiere comprar", "busca", "siempre lleva", "no encuentra", "ha visto", "va a vender", "necesita", "dibuja"),
        *("está limpiando", "perdió", "nos muestra", "guarda"),
    ),
    (
        *("una casa blanca", "el coche rojo", "dos libros viejos", "la mesa grande", "un reloj nuevo", "las llaves"),
        *("una camisa verde", "el pan caliente", "tres botellas", "la guitarra", "un caballo negro", "los zapatos"),
    ),
    (
        *("en la ciudad", "por la mañana", "cerca del río", "después de comer", "todos los días", "en el mercado"),
        *("esta noche", "con su familia", "hace un año", "antes del viaje", "junto al jardín", "los domingos"),
    ),
)

_TIMES = ("今天", "明天", "昨天", "早上", "晚上", "现在")
_PERSONS = ("我", "你", "他", "我们", "他们", "老师", "学生", "妈妈", "爸爸", "朋友")
_DOINGS = {
    "吃": ("米饭", "水果", "面包", "鱼"),
    "喝": ("茶", "水", "牛奶", "咖啡"),
    "看": ("书", "电影", "电视", "花"),
    "买": ("衣服", "水果", "书", "车票"),
    "去": ("学校", "北京", "公园", "医院", "上海"),
    "听": ("音乐", "故事"),
    "写": ("信", "汉字"),
    "坐": ("火车", "飞机"),
    "学": ("中文", "英文"),
    "打": ("电话", "球"),
}
# Who and when, in either order; how; and what, where the verb chooses its objects.
MANDARIN_SENTENCES: Grammar = (
    tuple(both for time in _TIMES for person in _PERSONS for both in (time + person, person + time)),
    ("想", "要", "不想", "也要", "喜欢", "不要"),
    tuple(verb + thing for verb, things in _DOINGS.items() for thing in things),
)
