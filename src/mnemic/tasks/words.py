"""Lists of words from which text tasks make their keys and names; all written for this project."""

__all__ = ["ADJECTIVES", "FIRST_NAMES", "LAST_NAMES", "NOUNS"]


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


ADJECTIVES = _listed("""
able absent acid actual airy alert alive aloof amber angry antique arctic ashen asleep astute atomic austere
autumn average aware awkward azure balmy bare bashful basic beaded bent big bitter bland blank bleak blind
blithe bold bony bouncy brainy brash brazen brief bright brittle broad broken bubbly bulky bumpy busy calm
candid canny careful cheap cheery chewy chief chilly chubby civic civil classic clean clear close cloudy coarse
cold colossal common compact complex content cool copper cordial cosmic costly cosy covert coy cozy cranky crazy
creamy crimson crooked crude cruel curly current curved cute dainty dapper daring dark dashing dazzling deep
deft dense desert direct dirty distant double drab drafty dreamy dry dual dull dusky dutiful eager early eastern
easy ebony edible eerie elated elder electric elegant emerald empty enormous entire equal errant eternal even
exact expert extra fabled faint fair false famous fancy far fast fat fearless feisty fertile fervent fickle
fierce fiery final fine firm fit fixed flat fleet flimsy fluffy fluid foggy fond formal forward fragile frail
free fresh friendly frigid frosty frozen frugal fruity full fuming fussy fuzzy gaunt general genial gentle
genuine giant giddy gifted glad glassy gleaming glib global gloomy golden good grand grassy gray greedy gritty
groovy gruff gutsy hairy half handy happy hardy harsh hasty hazel hazy healthy heavy hidden high hollow holy
honest hopeful huge humble humid husky idle immense innate inner intense ionic iron ironic jade jagged jaunty
jazzy jealous jolly jovial joyful junior kind knotty known lacy lame large last late leafy lean legal level
light likely lilac limber limp linear lithe little lively local lofty lone long lost lovely loyal lucid lucky
lunar lush lyric mad magic main major mammoth maroon marvel mature meek mellow messy mighty mild milky minor
minty misty mobile modest muddy mute naive narrow native natural navy neat nervous new nimble noble nocturnal
noisy normal northern novel nutty oaken obscure odd official oily olive open ornate oval overt pale paper
partial past patient peach pearly perfect placid plain plump plush polite poor posh potent pretty prickly
pristine private prompt proper proud pure purple quaint quick quiet rainy rapid rare raw real red regal rich
rigid rising robust rocky round royal ruby rugged rural rustic rusty sable sacred safe salty sandy scarlet
scenic secret senior serene severe shady shallow sharp short shy silent silken silly simple sleek slim slow
small smart smoky smooth snappy snowy sober soft solar solemn solid sonic sour southern sparse spicy spiky
spiral spotted spry square stale stark starry steady steep sterile stern sticky stiff still stormy strange
strict strong sturdy subtle sudden sugary sullen sunny super sure sweet swift tacit tall tan tangy tart tender
tense terse thick thin thirsty tidal tiny tired total tough tranquil trusty turbid twin ultra uneven unique
upper urban useful vain valid vast velvet vibrant vital vivid vocal volatile warm wary wavy waxy wealthy weary
western wet white whole wicked wide wild wily wise wistful witty wooden woolly wordy worldly worn young zany
zealous zesty
""")
"""500 adjectives."""

NOUNS = _listed("""
acorn actor album alcove alley altar angel animal answer anvil apple apron arch armor arrow ash atom attic aunt
author avenue axle badge bakery balcony ball balloon bamboo band banjo banner barrel basin basket bat beach
beacon bead bean bear beaver bed bee beetle bell belt bench bike bird biscuit blade blanket blossom bolt bone
book boot border bottle bowl box branch bread brick bridge brush bucket buckle bud bugle bush butter cabin
cactus cage camel camera camp canal candle cane canoe canvas canyon cap captain car caravan carpet carrot castle
cedar ceiling cellar chain chair chalk chapel chapter chart cheese cherry chest circus city clam claw clay cliff
cloak clock cloth cloud clover club coat cobbler cocoa coffee coin comet compass cone cook corner cotton couch
cousin cow crayon crystal cup curtain cushion daisy dawn deer delta den dentist desk dial diary dice dinner dish
doctor dog doll dolphin donkey door dove dragon drawer dress drum duck dune eagle ear earth easel echo eel elm
ember envelope evening falcon farm farmer feather fence ferry fiddle fig finch fire fish flame flask flint flock
flour foal forest fork fort fountain frame frog funnel galaxy game garage garlic gate gem ghost giraffe glacier
glass globe glove goat goose gown grain grape grass gravel guitar gull hall hammock harbor harp harvest hazel
heart hedge helmet herb hermit heron hill hinge hook horn horse hotel house iceberg igloo inn jacket jaguar jam
jar jewel jug key king kite knight knot ladder lagoon lake lamb lamp lantern lark lasso ledge lemon lens lettuce
lever library lighthouse lily lime lion lizard loaf lobster locket loom lotus lute machine magnet mango mantle
map maple market mask mast meadow medal melon mermaid mill mineral mint mirror mist mitten moat monk moose
morning moth mountain mouse museum mushroom net night noodle north notebook novel nurse oak oar oasis ocean
office onion opera orchard orchid organ otter oven owl ox paddle page paint palace paper parade parrot pasta
path paw pea peach peacock pear pearl pebble pelican pen penguin piano picture pie pillow pine pipe pirate
pitcher plain planet plank plow plum pocket poet pond pony poppy porch port portrait potato prairie prince prism
puppet puppy purse puzzle pyramid quail quarry quilt rabbit radio radish rail rain rainbow ranch razor ribbon
ring robe robin rocket root rug saddle sailor salad salmon salt sandal satchel sauce scarf scroll sea seal
shadow shark sheep shell shepherd shield shirt shoe shrimp sister ski skirt sky sleeve slope snail sock sofa
soldier song soup spark sparrow spear spindle squirrel staff stage stair star station steam stem stone stool
stork storm straw stream street sugar suitcase sun swan sweater sword table tapestry teacher temple thorn thread
throne thunder tide tiger tile tomato tower toy trail train tray treasure tree trellis trumpet trunk tulip
turban turnip turtle tutor umbrella uncle valley vault vessel village vine visitor volcano wagon walnut watch
water wave whale wharf wheat wheel whistle willow window wing wizard wolf yacht yard yarn
""")
"""500 nouns."""

FIRST_NAMES = _listed("""
Ada Adam Adela Agnes Aidan Alan Alba Albert Alec Alfred Alina Alma Alvin Amos Amy Andrea Andrew Angela Anita
Anna Annika Anton April Astrid Aubrey Audrey August Aurora Austin Ava Barbara Barry Becca Bella Ben Bertha Bess
Betty Bianca Blair Blanche Boris Brian Bridget Bruno Bryce Caleb Calvin Carl Carla Carol Casper Cassia Cecil
Cecilia Cedric Celia Chad Chandra Charles Charlotte Chester Chloe Clara Clark Claude Clemens Clive Cora Corin
Craig Curtis Cynthia Dahlia Daisy Dale Damian Dana Daniel Daphne Darius Darren David Dean Deborah Delia Della
Dennis Derek Diana Diego Dina Dmitri Dolores Dominic Donald Donna Dora Doris Dorothy Douglas Duncan Dustin Dylan
Earl Edgar Edith Edmund Edna Edward Edwin Eileen Elaine Eleanor Elena Eli Elias Elisa Eliza Ella Ellen Elliot
Elmer Eloise Elsie Elton Elvira Emil Emma Enid Enrique Eric Erica Erik Erin Ernest Esther Ethel Eugene Eunice
Eva Evan Eve Evelyn Ezra Fabian Fanny Fatima Faye Felicia Felix Fiona Flora Florence Floyd Frances Francis Frank
Freda Frederick Frida Gail Gareth Garth Gavin Gene Geoffrey George Gerald Gerda Gilbert Giles Gina Gladys Glen
Gloria Gordon Grace Graham Grant Greta Guido Gustav Guy Gwen Hannah Hans Harold Harriet Harry Hazel Heather
Hector Heidi Helen Helga Henry Herbert Hilda Hiram Holly Homer Hope Horace Howard Hubert Hugh Hugo Ian Ida Igor
Ilse Imogen Inga Ingrid Ira Irene Iris Irma Irving Isaac Isabel Isla Ivan Ivy Jack Jacob Jade James Jan Jane
Janet Jared Jasmine Jason Jasper Jay Jean Jeffrey Jeremy Jerome Jesse Jill Joan Johanna John Jonas Jordan Joseph
Joshua Joy Joyce Juan Judith Julian June Justin Kai Kara Karen Karl Kate Kay Keira Keith Kelly Kenneth Kevin Kim
Kira Klaus Kurt Kyle Lance Lara Lars Laura Lauren Lawrence Lee Leif Lena Leo Leon Leona Leroy Leslie Lila
Lillian Lily Linda Lionel Lloyd Logan Lois Lola Lorenzo Loretta Louis Louise Lucas Lucia Lucy Luke Luther Lydia
Lyle Mabel Mack Madeline Magnus Malcolm Marcel Marco Margaret Marian Marie Marina Mario Marion Marjorie Mark
Marlene Martin Marvin Mary Mason Matilda Matthew Maud Maureen Maurice Max Maxine Maya Megan Melanie Melvin Mercy
Meredith Michael Mila Mildred Miles Milo Milton Mina Miranda Miriam Mitchell Mohan Molly Morgan Morris Muriel
Myron Nadia Nancy Naomi Natalie Nathan Neil Nell Nelson Nestor Nicholas Nigel Nina Noah Noel Nora Norma Norman
Norton Olaf Olive Oliver Olivia Omar Opal Ophelia Orson Oscar Otis Owen Pamela Patrick Paul Paula Pearl Pedro
Peggy Penelope Percy Perry Peter Petra Philip Phoebe Phyllis Pierre Piper Polly Portia Preston Priscilla Quentin
Quincy Rachel Ralph Ramona Randall Raoul Raymond Rebecca Regina Reuben Rex Rhoda Rita Robert Roberta Robin
Roderick Roland Roman Ronald Rosa Roy Ruben Rupert Russell Ruth Sabina Sadie Sally Samuel Sandra Sara Saul Scott
Selma Serena Seth Shane Sharon Sheila Sidney Silas Simon Sofia Sonia Stanley Stella Stephen Stuart Susan Sylvia
Tamara Tara Terence Teresa Thea Theodore Thomas Tim Tobias Tony Travis Trevor Trudy Tyler Ulrich Ursula Valerie
Vera Vernon Victor Victoria Vincent Viola Virgil Vivian Wade Walter Wanda Warren Wayne Wendy Wilbur William
Wilma Winifred Xavier Yolanda Yvette Yvonne Zachary Zelda Zoe
""")
"""500 first names."""

_BEGINNINGS = _listed(
    "Ash Beck Black Brad Brook Carl Clay Cross East Fair Fox Gray Hart "
    "Hazel Hill Holm King Lang Mar Nor Oak Rad Red Stan West"
)
_ENDINGS = _listed(
    "berg bourne bridge bury by croft dale feld field ford gate ham hurst land ley more stead ton wood worth"
)
LAST_NAMES = tuple(beginning + ending for beginning in _BEGINNINGS for ending in _ENDINGS)
"""500 family names."""
